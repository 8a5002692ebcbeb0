"""A round of a few kinds on a failing network; `make faults` has 320 of all."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.faults import network
from tests.faults.network import GRPC, HTTP, REDIS, TRIED
from tests.faults.proxy import (
    ANSWERS,
    BLACKHOLE,
    BOTH,
    CUT_CLOSED,
    CUT_SILENT,
    LOST_ANSWER,
    QUESTIONS,
    RESET,
    Link,
    Toxic,
)
from tests.support.deployment import deployed
from worker import bootstrap

pytestmark = pytest.mark.timeout(240)
KINDS = [
    (REDIS, RESET, ANSWERS),
    (REDIS, LOST_ANSWER, "settle"),
    (GRPC, LOST_ANSWER, "upsert"),
    (GRPC, BLACKHOLE, BOTH),
    (HTTP, CUT_CLOSED, ANSWERS),
]


@pytest.fixture(scope="module")
def round_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], list[str]]]:
    with network.rounds(tmp_path_factory.mktemp("network")) as do:
        yield do


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_a_network_that_fails(
    kind: tuple[str, str, str], round_of: Callable[[int], list[str]]
) -> None:
    name, what, _ = kind
    assert any(words.startswith(f"{name}, {what}") for words in round_of(TRIED.index(kind)))


@pytest.fixture
def echo() -> Iterator[Link]:
    """A link to a server that says all again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        while data := connection.recv(4096):
                            connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        with closing(Link("echo", server.getsockname()[1])) as link:
            yield link


def said(link: Link, words: bytes) -> bytes:
    """What comes back, until the end; raises as the connection does."""
    with socket.create_connection(("127.0.0.1", link.port), timeout=10) as connection:
        connection.sendall(words)
        with suppress(OSError):  # it may be reset already; what comes back says how
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(4096):
            answer += data
        return answer


def test_the_proxy_does_what_it_is_told(echo: Link) -> None:
    assert said(echo, b"a few words") == b"a few words"
    echo.poison(Toxic(CUT_CLOSED, ANSWERS, size=5))
    assert said(echo, b"a few words") == b"a few"
    echo.poison(Toxic(RESET, QUESTIONS, size=0))
    with pytest.raises(ConnectionResetError):
        said(echo, b"a few words")
    echo.poison(Toxic(LOST_ANSWER, ANSWERS, asks=lambda data: "few" if b"few" in data else None))
    assert said(echo, b"two words") == b"two words"
    with pytest.raises(ConnectionResetError):
        said(echo, b"a few words")
    assert echo.struck == ["echo, answer lost, few"]
    echo.heal()
    assert said(echo, b"a few words") == b"a few words"


@pytest.mark.parametrize("kind", [BLACKHOLE, CUT_SILENT])
def test_what_the_proxy_swallows_comes_late_or_never(echo: Link, kind: str) -> None:
    echo.poison(Toxic(kind, ANSWERS))
    with socket.create_connection(("127.0.0.1", echo.port), timeout=10) as connection:
        connection.sendall(b"a word")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        connection.settimeout(10)
        echo.heal()
        if kind == BLACKHOLE:
            assert connection.recv(10) == b"a word"
        else:
            with pytest.raises(ConnectionResetError):
                connection.recv(10)


def test_a_deletion_waits_for_a_server_that_is_away(
    tmp_path: Path,
) -> None:
    """Three answers to one question are lost: more than the client of Redis asks by itself."""
    left = iter(["bury"] * 3)
    sign = network.scripts()["bury"].encode()

    def asks(data: bytes) -> str | None:
        return next(left, None) if sign in data else None

    with (
        deployed(tmp_path, model="none") as made,
        closing(Link("redis", made.redis.port)) as link,
    ):
        made.environment["DOIVEC_REDIS__URL"] = f"redis://127.0.0.1:{link.port}/0"
        with bootstrap.connect(made.settings) as client:
            link.poison(Toxic(LOST_ANSWER, ANSWERS, asks=asks))
            assert list(bootstrap.delete(client, ["10.1000/a"])) == [("10.1000/a", False)]
            assert client.ledger.epoch() != "0"
        assert len(link.struck) == 3
