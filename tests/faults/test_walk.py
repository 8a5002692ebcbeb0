"""Twenty random walks through the ledger; `make faults` has five hundred."""

from contextlib import closing

import pytest
import redis

from tests.faults.walk import Walk
from tests.support.servers import RedisServer
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings
from worker.store.protocol import VectorStore


@pytest.fixture
def options() -> IngestSettings:
    return IngestSettings(lease_s=60.0)


@pytest.mark.parametrize("seed", range(10))
def test_a_random_walk_leaves_true_counts(
    seed: int, ledger: Ledger, store: VectorStore, embedder: Embedder, redis_server: RedisServer
) -> None:
    impatient = Ledger.connect(
        RedisSettings(url=redis_server.url), options=IngestSettings(lease_s=0.001)
    )
    with closing(impatient), redis.Redis.from_url(redis_server.url) as client:
        walk = Walk(ledger, store, embedder, impatient=impatient, client=client, seed=seed)
        try:
            walk.run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}\n{' '.join(walk.log)}") from error
