"""A real Redis for the cases that need one."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import redis

from tests.support.servers import RedisServer
from worker.ledger.ledger import Ledger
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings


class Served(NamedTuple):
    """A ledger, the plain client of its Redis, and where that is."""

    ledger: Ledger
    client: redis.Redis
    url: str


ADDRESS = "DOIVEC_REDIS__URL"


@contextmanager
def configured(url: str) -> Iterator[None]:
    """The environment in which a Celery application first reads its settings."""
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = url
    try:
        yield
    finally:
        os.environ.pop(ADDRESS)
        if before is not None:
            os.environ[ADDRESS] = before


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """A ledger on a server of its own, which does not wait for a disk."""
    server = RedisServer(folder / "redis", "--appendfsync", "no")
    server.start()
    try:
        ledger = Ledger.connect(RedisSettings(url=server.url), options=IngestSettings())
        with closing(ledger), redis.Redis.from_url(server.url) as client:
            yield Served(ledger, client, server.url)
    finally:
        server.kill()
