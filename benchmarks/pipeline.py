"""The main path as a whole against its parts alone, and the same list once more.

CPU time is compared, because where all parts share the cores it is what they compete for; and
rates, with Qdrant on a core of its own and the rest on another.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.machine import cpu_seconds, dois, write_result
from benchmarks.reading import records
from schemas.document import Document
from schemas.doi import normalize, point_id
from schemas.job import Job, JobState
from schemas.record import Record
from tests.support.servers import QdrantServer, RedisServer, wait_until
from tests.support.shell import SCRIPTS, WORKER
from worker import bootstrap
from worker.model.embedder import Embedder
from worker.settings.environment import Settings
from worker.settings.ingest import LimitSettings
from worker.sources.fields import given as document
from worker.sources.records import read
from worker.store.opening import open_store
from worker.store.points import payload
from worker.store.protocol import Write

BATCH = 1024
Pin = Callable[[int, int], None]


class System:
    """A Redis, a Qdrant and a worker process, with the base model."""

    def __init__(self, folder: Path, *, pinned: bool) -> None:
        self.folder = folder
        self.pinned = pinned
        self.redis = RedisServer(folder / "redis")
        self.qdrant = QdrantServer(folder / "qdrant")
        self.trace = folder / "trace.json"
        self.environment = {
            "DOIVEC_REDIS__URL": self.redis.url,
            "DOIVEC_QDRANT__URL": self.qdrant.url,
            "DOIVEC_QDRANT__GRPC_PORT": str(self.qdrant.grpc_port),
            "DOIVEC_DATA_DIR": str(folder / "data"),
            "DOIVEC_INGEST__BATCH_RECORDS": str(BATCH),
            "DOIVEC_TRACE": str(self.trace),
        }
        self.worker: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """What the worker reads from its environment."""
        return Settings(
            redis={"url": self.redis.url},
            qdrant={"url": self.qdrant.url, "grpc_port": self.qdrant.grpc_port},
            data_dir=self.folder / "data",
            ingest={"batch_records": BATCH},
        )

    @property
    def pids(self) -> list[int]:
        """The processes whose CPU time counts: this one (the producer) and the three others."""
        assert self.worker
        return [os.getpid(), self.redis.pid, self.qdrant.pid, self.worker.pid]

    def start(self) -> None:
        """Start all, and wait until the worker is ready."""
        self.redis.start()
        self.qdrant.start()
        if self.pinned:
            os.sched_setaffinity(self.qdrant.pid, {1})
            for task in Path(f"/proc/{self.qdrant.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {1})
        log = self.folder / "worker.log"
        command = [str(SCRIPTS / WORKER), "run"]
        prefix = ["taskset", "-c", "0"] if self.pinned else []
        with log.open("wb") as output:
            self.worker = subprocess.Popen(
                [*prefix, *command],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: "ready." in log.read_text(), what=log.read_text)

    def stop(self) -> None:
        """Stop all."""
        if self.worker:
            self.worker.terminate()
            self.worker.wait()
        self.qdrant.stop()
        self.redis.stop()

    def cpu_s(self) -> float:
        """CPU seconds used so far by all parts."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    def index_is_ready(self) -> bool:
        """Whether Qdrant has nothing left to index."""
        answer = httpx.get(f"{self.qdrant.url}/collections/dois", trust_env=False).json()
        return bool(answer["result"]["status"] == "green")


@contextmanager
def system(*, pinned: bool) -> Iterator[System]:
    """A system in a folder of its own, stopped and removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        made = System(Path(folder), pinned=pinned)
        try:
            made.start()
            yield made
        finally:
            made.stop()


def bare(count: int) -> list[Document]:
    """Records of which nothing but the DOI is known."""
    return [Document(doi=normalize(doi)) for doi in dois(count)]


def titled(count: int) -> list[Document]:
    """Records with titles, and years and venues where known."""
    found = (document(row, limits=LimitSettings()).document for row in records(2 * count))
    return list(islice({d.doi: d for d in found}.values(), count))


def ingest(made: System, source: Path) -> tuple[Job, float, float]:
    """Ingest a list; the job, the seconds it took, and the CPU seconds with the index's."""
    before_s, start = made.cpu_s(), time.perf_counter()
    with bootstrap.connect(made.settings) as client:
        job = client.producer.open(source=source.name)
        client.producer.fill(job, lambda: read(str(source), limits=made.settings.limits))
        wait_until(lambda: client.ledger.job(job.id).state is JobState.SETTLED, timeout_s=600.0)
        wall_s = time.perf_counter() - start
        wait_until(made.index_is_ready, timeout_s=600.0)
        return client.ledger.job(job.id), wall_s, made.cpu_s() - before_s


def embed_alone(embedder: Embedder, texts: Sequence[str]) -> tuple[list[Any], float, float]:
    """Embed texts in batches; vectors, wall and CPU seconds."""
    before_s, start = time.process_time(), time.perf_counter()
    parts = [embedder.encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    return parts, time.perf_counter() - start, time.process_time() - before_s


def upsert_alone(
    made: System, documents: Sequence[Document], parts: list[Any]
) -> tuple[float, float]:
    """Write vectors to a collection of their own; wall and CPU seconds with the index's."""
    store = open_store(made.settings.qdrant, data_dir=made.settings.data_dir)
    store.create("alone", dimension=384)
    before_s, start = made.cpu_s(), time.perf_counter()
    for number, vectors in enumerate(parts):
        batch = documents[number * BATCH : (number + 1) * BATCH]
        records = [Record.of(document, number + 1) for document in batch]
        ids = [point_id(document.doi) for document in batch]
        payloads = [payload(record, job="alone", text_from="doi") for record in records]
        store.upsert("alone", Write(ids, vectors, payloads), revisions=())
    wall_s = time.perf_counter() - start
    wait_until(lambda: store_is_ready(made), timeout_s=600.0)
    cpu_s = made.cpu_s() - before_s
    store.close()
    httpx.delete(f"{made.qdrant.url}/collections/alone", trust_env=False)
    return wall_s, cpu_s


def store_is_ready(made: System) -> bool:
    """Whether the collection of the upserts alone has nothing left to index."""
    answer = httpx.get(f"{made.qdrant.url}/collections/alone", trust_env=False).json()
    return bool(answer["result"]["status"] == "green")


def overlap(trace: Path) -> float:
    """The share of the upserts' time that lies under the embedding of another batch."""
    events = [json.loads(line.rstrip(",\n")) for line in trace.read_text().splitlines()[1:]]
    spans = {
        name: sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == name)
        for name in ("embed", "upsert")
    }
    under = sum(
        max(0.0, min(end, e_end) - max(start, e_start))
        for start, end in spans["upsert"]
        for e_start, e_end in spans["embed"]
    )
    return under / sum(end - start for start, end in spans["upsert"])


def measure(documents: Sequence[Document], *, pinned: bool) -> dict[str, float]:
    """One round: the parts alone, the whole, and the whole once more."""
    with system(pinned=pinned) as made:
        if pinned:
            os.sched_setaffinity(0, {0})
        embedder = Embedder.load("base", threads=1 if pinned else None)
        texts = [document.title or document.doi for document in documents]
        embedder.encode(texts[:256])
        parts, embed_wall_s, embed_cpu_s = embed_alone(embedder, texts)
        upsert_wall_s, upsert_cpu_s = upsert_alone(made, documents, parts)
        source = made.folder / "records.jsonl"
        rows = ({"doi": d.doi, **d.metadata} for d in documents)
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        first, wall_s, cpu_s = ingest(made, source)
        stored_writes = point_version(made, documents[0].doi)
        second, again_s, _ = ingest(made, source)
        assert first.stored == second.unchanged == len(texts), (first, second)
        assert point_version(made, documents[0].doi) == stored_writes, "the second time wrote"
        return {
            "embed_s": embed_wall_s,
            "embed_cpu_s": embed_cpu_s,
            "upsert_s": upsert_wall_s,
            "upsert_cpu_s": upsert_cpu_s,
            "whole_s": wall_s,
            "whole_cpu_s": cpu_s,
            "cpu_ratio": cpu_s / (embed_cpu_s + upsert_cpu_s),
            "rate_ratio": max(embed_wall_s, upsert_wall_s) / wall_s,
            "again_s": again_s,
            "again_ratio": again_s / wall_s,
            "upsert_under_embedding": overlap(made.trace),
        }


def point_version(made: System, doi: str) -> dict[str, Any]:
    """A stored point's payload, to see that it is not written again."""
    url = f"{made.qdrant.url}/collections/dois/points/{point_id(normalize(doi))}"
    payload_: dict[str, Any] = httpx.get(url, trust_env=False).json()["result"]["payload"]
    return payload_


def main() -> None:
    """Measure rounds and keep each figure's median and range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dois", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pinned", action="store_true")
    parser.add_argument("--titled", action="store_true", help="records with titles, not bare DOIs")
    options = parser.parse_args()
    documents = titled(options.dois) if options.titled else bare(options.dois)
    rounds = [measure(documents, pinned=options.pinned) for _ in range(options.rounds)]
    figures = {
        name: {
            "median": round(median(r[name] for r in rounds), 4),
            "min": round(min(r[name] for r in rounds), 4),
            "max": round(max(r[name] for r in rounds), 4),
        }
        for name in rounds[0]
    }
    kinds = ("pipeline", *(k for k in ("titled", "pinned") if getattr(options, k)))
    write_result(
        "_".join(kinds), {"dois": len(documents), "rounds": len(rounds), "figures": figures}
    )


if __name__ == "__main__":
    main()
