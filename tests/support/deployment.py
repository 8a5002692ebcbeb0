"""A whole doivec on real servers: workers as processes, a client in the test."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from qdrant_client import QdrantClient

from schemas.document import Document
from schemas.doi import normalize, point_id
from schemas.job import Job, JobState
from tests.support import registered
from tests.support.servers import QdrantServer, RedisServer, wait_until
from tests.support.shell import SCRIPTS, WORKER
from worker import bootstrap
from worker.ingest.producer import Hooks
from worker.settings.environment import Settings
from worker.sources.records import identity, read

SETTLE_TIMEOUT_S = 60.0
ALIAS = "dois"


class Worker:
    """A `doi-worker run` in a process of its own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(SCRIPTS / WORKER), "run"],
                env={**os.environ, **environment},
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it in good order; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def words(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")


class Deployment:
    """Redis, Qdrant, a model, and as many workers as a test starts."""

    def __init__(
        self,
        folder: Path,
        *,
        redis: RedisServer,
        qdrant: QdrantServer,
        model: Path | str,
        **more: str,
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.qdrant = qdrant
        self.workers: list[Worker] = []
        if isinstance(model, Path):
            registered.put_into(folder / "data", model)
        self.environment = {
            "DOIVEC_REDIS__URL": redis.url,
            "DOIVEC_QDRANT__URL": qdrant.url,
            "DOIVEC_QDRANT__GRPC_PORT": str(qdrant.grpc_port),
            "DOIVEC_DATA_DIR": str(folder / "data"),
            "DOIVEC_MODEL__NAME": str(model),
            "DOIVEC_INGEST__BATCH_RECORDS": "100",
            "DOIVEC_INGEST__LEASE_S": "4",
            "DOIVEC_INGEST__SWEEP_S": "1",
            "DOIVEC_EMBED__THREADS": "1",
            **more,
        }

    @property
    def environ(self) -> dict[str, str]:
        """The whole environment of a process of this deployment."""
        return {**os.environ, **self.environment}

    @property
    def settings(self) -> Settings:
        """The settings that the workers read from their environment."""
        nested: dict[str, object] = {}
        for name, value in self.environment.items():
            if not name.startswith("DOIVEC_"):
                continue
            *path, last = name.removeprefix("DOIVEC_").lower().split("__")
            target = nested
            for part in path:
                target = target.setdefault(part, {})  # type: ignore[assignment]
            target[last] = json.loads(value) if value.startswith(("{", "[")) else value
        return Settings(**nested)

    def start_worker(self) -> Worker:
        """Start a worker; it is ended with the deployment."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        worker = Worker(self.environment, log)
        self.workers.append(worker)
        return worker

    def queue(self, path: Path) -> str:
        """Queue a source as a job; returns its id."""
        with bootstrap.connect(self.settings) as client:
            job = client.producer.open(source=path.name, identity=identity([str(path)]))
            client.producer.fill(
                job, lambda: read(str(path), limits=self.settings.limits), hooks=Hooks()
            )
            return job.id

    def job(self, job: str) -> Job:
        """A job as the ledger has it."""
        with bootstrap.connect(self.settings) as client:
            return client.ledger.job(job)

    def settled(self, job: str, *, timeout_s: float = SETTLE_TIMEOUT_S) -> Job:
        """The job once it has settled; fails after a minute, unless told otherwise."""
        with bootstrap.connect(self.settings) as client:
            wait_until(
                lambda: client.ledger.job(job).state is JobState.SETTLED,
                timeout_s=timeout_s,
                what=lambda: f"{client.ledger.job(job)}\n{self._words()}",
            )
            return client.ledger.job(job)

    def stored(self) -> int:
        """How many points the live collection has, 0 before there is one."""
        with self.qdrant_client() as client:
            if not client.collection_exists(ALIAS):
                return 0
            return client.count(ALIAS, exact=True).count

    def ids(self) -> set[str]:
        """The id of every point, as Qdrant itself has them."""
        found: set[str] = set()
        with self.qdrant_client() as client:
            offset = None
            while True:
                points, offset = client.scroll(ALIAS, limit=5000, offset=offset, with_payload=False)
                found.update(str(point.id) for point in points)
                if offset is None:
                    return found

    @contextmanager
    def qdrant_client(self) -> Iterator[QdrantClient]:
        """A plain Qdrant client."""
        client = QdrantClient(
            url=self.qdrant.url, timeout=30, trust_env=False, check_compatibility=False
        )
        try:
            yield client
        finally:
            client.close()

    @contextmanager
    def redis_client(self) -> Iterator[redis.Redis]:
        """A plain Redis client."""
        client = redis.Redis.from_url(self.redis.url)
        try:
            yield client
        finally:
            client.close()

    def close(self) -> None:
        """End the workers that still run."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    def _words(self) -> str:
        return "\n".join(worker.words[-3000:] for worker in self.workers)


def expected_ids(dois: Sequence[str]) -> set[str]:
    """The point ids of DOIs."""
    return {point_id(normalize(doi)) for doi in dois}


def documents(dois: Sequence[str]) -> list[Document]:
    """Bare documents of DOIs."""
    return [Document(doi=normalize(doi)) for doi in dois]


@contextmanager
def deployed(folder: Path, *, model: Path | str, **more: str) -> Iterator[Deployment]:
    """A deployment on a Redis and a Qdrant server of its own, all of it ended with the context."""
    redis, qdrant = RedisServer(folder / "redis"), QdrantServer(folder / "qdrant")
    made = Deployment(folder, redis=redis, qdrant=qdrant, model=model, **more)
    try:
        redis.start()
        qdrant.start()
        yield made
    finally:
        made.close()
        redis.stop()
        qdrant.stop()
