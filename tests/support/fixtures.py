"""A ledger on a real Redis, and each of the two stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.servers import QdrantServer, RedisServer
from tests.support.tiny_model import make_tiny_model
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.settings.ingest import IngestSettings
from worker.settings.servers import QdrantSettings, RedisSettings
from worker.store.opening import open_store
from worker.store.protocol import VectorStore


@pytest.fixture
def options() -> IngestSettings:
    """The ledger's; a module may have its own."""
    return IngestSettings()


@pytest.fixture
def ledger(redis_server: RedisServer, options: IngestSettings) -> Iterator[Ledger]:
    made = Ledger.connect(RedisSettings(url=redis_server.url), options=options)
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield made
        client.flushall()
    made.close()


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return Embedder.load(make_tiny_model(tmp_path_factory.mktemp("tiny")), threads=1)


@pytest.fixture(params=["server", "edge"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    settings = QdrantSettings()
    if request.param == "server":
        server: QdrantServer = request.getfixturevalue("qdrant_server")
        settings = QdrantSettings(url=server.url, grpc_port=server.grpc_port)
    made = open_store(settings, data_dir=tmp_path)
    yield made
    made.close()
