"""A million DOIs through producer, queue and ledger: flat memory, a steady rate.

The embedder is a stand-in for a GPU (`benchmarks/standin_worker.py`); Redis and Qdrant are real.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import DATA, ROOT, resident_mib, write_result
from schemas.job import Job, JobState
from tests.support.servers import QdrantServer, RedisServer, wait_until
from worker import bootstrap
from worker.ingest.producer import Hooks
from worker.settings.environment import Settings
from worker.sources.records import read

# Qdrant's own work on an index is not what is measured here.
COLLECTION = '{"optimizers_config": {"indexing_threshold": 0}, "vectors": {"on_disk": true}}'
Sample = dict[str, float]


class Samples:
    """Memory and progress at intervals."""

    def __init__(
        self, client: bootstrap.Client, job: str, *, redis: RedisServer, worker: int
    ) -> None:
        self._client = client
        self._job = job
        self._redis = redis
        self._worker = worker
        self._start = time.perf_counter()
        self.rows: list[Sample] = []

    def take(self, _: float = 0.0) -> Job:
        """A sample every five seconds; the job as it stands."""
        elapsed_s = time.perf_counter() - self._start
        job = self._client.ledger.job(self._job)
        if not self.rows or elapsed_s - self.rows[-1]["elapsed_s"] >= 5.0:
            self.rows.append(
                {
                    "elapsed_s": elapsed_s,
                    "settled": job.settled,
                    "producer_mib": resident_mib(os.getpid()),
                    "worker_mib": resident_mib(self._worker),
                    "redis_mib": resident_mib(self._redis.pid),
                    "outstanding": self._client.ledger.outstanding(),
                }
            )
        return job

    def wait(self, pause_s: float) -> None:
        """Pass the time while the producer holds."""
        time.sleep(pause_s)
        self.take()


@contextmanager
def worker_process(folder: Path, environment: dict[str, str]) -> Iterator[int]:
    """The stand-in worker's process id, once it is ready."""
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.standin_worker"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "ready." in log.read_text(), what=log.read_text)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def measure(source: Path, folder: Path) -> dict[str, Any]:
    """Ingest `source` whole, sampling as it goes."""
    redis, qdrant = RedisServer(folder / "redis"), QdrantServer(folder / "qdrant")
    redis.start()
    qdrant.start()
    environment = {
        "DOIVEC_REDIS__URL": redis.url,
        "DOIVEC_QDRANT__URL": qdrant.url,
        "DOIVEC_QDRANT__GRPC_PORT": str(qdrant.grpc_port),
        "DOIVEC_QDRANT__COLLECTION": COLLECTION,
        "DOIVEC_DATA_DIR": str(folder / "data"),
    }
    settings = Settings(redis={"url": redis.url}, data_dir=folder / "data")
    with worker_process(folder, environment) as pid, bootstrap.connect(settings) as client:
        before_mib = resident_mib(redis.pid)
        job = client.producer.open(source=source.name)
        samples = Samples(client, job.id, redis=redis, worker=pid)
        hooks = Hooks(accepted=samples.take, wait=samples.wait)
        client.producer.fill(job, lambda: read(str(source), limits=settings.limits), hooks=hooks)
        while (job := samples.take()).state is not JobState.SETTLED:
            time.sleep(0.2)
        after_mib = resident_mib(redis.pid)
    qdrant.stop()
    redis.stop()
    return summary(job, samples.rows, redis_mib=after_mib - before_mib)


def summary(job: Job, rows: list[Sample], *, redis_mib: float) -> dict[str, Any]:
    """The figures: rates of the second and the last tenth, memory in the middle and at the end."""
    rates = [
        (b["settled"] - a["settled"]) / (b["elapsed_s"] - a["elapsed_s"]) for a, b in pairwise(rows)
    ]
    part = max(1, len(rates) // 5)
    return {
        "stand_in": "the embedder: vectors from a table, instead of a GPU",
        "job": job.model_dump(mode="json", include={"read", "accepted", "stored", "batches"}),
        "rate_at_start": round(median(rates[1 : 1 + part])),
        "rate_at_end": round(median(rates[-1 - part : -1])),
        "redis_bytes_a_doi": round(redis_mib * 2**20 / job.accepted, 1),
        "samples": [{name: round(value, 1) for name, value in row.items()} for row in rows],
    }


def main() -> None:
    """Measure once; it takes minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, default=DATA / "dois_1m.txt.xz")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_result("scale", measure(options.source, Path(folder)))


if __name__ == "__main__":
    main()
