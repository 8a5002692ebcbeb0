"""A deployment to break whose vectors are in a worker's process: Qdrant Edge, on a disk."""

import json
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.faults.bench import REST_TIMEOUT_S, Fields, drawn
from tests.faults.children import Child
from tests.faults.truth import Truth
from tests.support import registered
from tests.support.servers import RedisServer, wait_until
from tests.support.tiny_model import make_tiny_model
from worker.ledger.ledger import Ledger
from worker.model.registry import Registry
from worker.settings.environment import Settings
from worker.store.opening import open_store


class EdgeBench:
    """One worker, which has the store, and producers; `folder` has the data, `logs` the rest."""

    def __init__(self, folder: Path, *, redis: RedisServer, logs: Path) -> None:
        self._data, self._logs = folder / "data", logs
        registered.put_into(self._data, make_tiny_model(logs / "model"))
        self._redis = redis
        self._given: dict[str, list[Fields]] = {}
        self.worker = self._start("worker", "run")
        self.worker.ready()

    def queue(self, chosen: random.Random) -> None:
        """Queue a list."""
        rows = drawn(chosen)
        path = self._logs / f"{len(self._given)}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self._given[str(path)] = rows
        producer = self._start("producer", "queue", str(path))
        assert producer.ended() == 0, producer.said

    def check(self) -> None:
        """All that was queued is there, as it must be; the worker ends with that."""
        settings = self._settings
        truth = Truth(Registry(self._data / "models"), looked_up={})
        with closing(Ledger.connect(settings.redis, options=settings.ingest)) as ledger:
            wait_until(
                lambda: all(ledger.job(name).settled_at for name in ledger.every_job()),
                timeout_s=REST_TIMEOUT_S,
                what=lambda: self.worker.said[-3000:],
            )
            truth.hear(ledger, self._given)
            assert self.worker.process.is_alive(), self.worker.said
            self.worker.kill()
            with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
                truth.check(ledger, store, alias=settings.collection)

    @property
    def _settings(self) -> Settings:
        return Settings(
            redis={"url": self._redis.url},
            qdrant={"embedded": True},
            data_dir=self._data,
            ingest={"lease_s": 2},
        )

    def _start(self, program: str, *words: str) -> Child:
        environment = {
            "DOIVEC_REDIS__URL": self._redis.url,
            "DOIVEC_QDRANT__EMBEDDED": "true",
            "DOIVEC_DATA_DIR": str(self._data),
            "DOIVEC_EMBED__THREADS": "1",
            "DOIVEC_INGEST__BATCH_RECORDS": "16",
            "DOIVEC_INGEST__LEASE_S": "2",
            "DOIVEC_INGEST__SWEEP_S": "0.5",
            "DOIVEC_MODEL__NAME": str(self._logs / "model"),
        }
        log = self._logs / f"{program}-{len(self._given)}.log"
        return Child(program, words, environment=environment, log=log, traps=self._logs)


@contextmanager
def opened(folder: Path, *, logs: Path) -> Iterator[EdgeBench]:
    """A bench on a Redis of its own, ended with the context."""
    redis = RedisServer(logs / "redis")
    redis.start()
    try:
        made = EdgeBench(folder, redis=redis, logs=logs)
        try:
            yield made
        finally:
            made.worker.kill()
    finally:
        redis.stop()
