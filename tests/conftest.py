"""Real servers for all tests of a session; one that is missing skips, and fails in CI."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

from tests.support.servers import QdrantServer, RedisServer, Server, ServiceMissing

S = TypeVar("S", bound=Server)
# A shell may have started the tests with Ctrl-C ignored, which the programs under test inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# No test asserts a duration: a first call may load a library.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from running(RedisServer, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def qdrant_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantServer]:
    yield from running(QdrantServer, tmp_path_factory.mktemp("qdrant"))


def running(make: Callable[[Path], S], folder: Path) -> Iterator[S]:
    try:
        server = make(folder)
    except ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was said may hold halves of signs; tests that run side by side send it as UTF-8."""
    report = yield
    report.sections = [
        (name, words.encode(errors="backslashreplace").decode()) for name, words in report.sections
    ]
    return report
