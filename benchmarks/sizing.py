"""Memory and disk a million DOIs, for one collection and for two; a worker's with two models.

Qdrant, the store's code, the DOIs and their metadata are real. The vectors are random ones of unit
length: their size and that of the HNSW graph hardly depend on what they say. The second collection
is the first one restored from a snapshot, with its graph, which takes minutes to build; for the
same reason each size is indexed once, when all is written. What a million takes is the slope
between two sizes, times a million: nothing as large was measured.
"""

import argparse
import ast
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from benchmarks.machine import DATA, ROOT, write_result
from schemas.document import Document
from schemas.doi import point_id
from schemas.record import Record
from tests.support.servers import QdrantServer
from worker.settings.ingest import LimitSettings
from worker.settings.servers import QdrantSettings
from worker.sources.records import read
from worker.store.points import payload
from worker.store.protocol import Write
from worker.store.server import ServerStore

DIMENSION, BATCH, QUERIES = 384, 1024, 500
TIMEOUT_S = 120.0
CALM = 6  # looks in a row: between two runs of the optimizer it is calm for a moment
LIVE, CANDIDATE = "dois-0123456789abcdef", "dois-fedcba9876543210"
MIB = 2**20
JOB = "5f0c9ab6d9f14d0a8a3c3b6a6b1c1f11"
Footprint = dict[str, float]


class Case(NamedTuple):
    """What is measured: which records, how many at first and at the end, how they are kept."""

    name: str
    documents: Sequence[Document]
    first: int
    last: int
    options: dict[str, Any]


class Bench:
    """A Qdrant server with the collections of a case."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case = case
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        self._filled = 0
        self._random = np.random.default_rng(0)
        self.server = QdrantServer(folder)
        self.server.start()
        settings = QdrantSettings(
            url=self.server.url,
            grpc_port=self.server.grpc_port,
            collection=case.options,
            timeout_s=TIMEOUT_S,
        )
        self.store = ServerStore(settings)

    def fill(self, stop: int) -> None:
        """Write the documents up to this one as workers do; wait until all of it is indexed."""
        self.store.create(LIVE, dimension=DIMENSION)
        threshold = self._index_above(0)
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")  # the peak begins anew
        began = time.perf_counter()
        for first in range(self._filled, stop, BATCH):
            self._write(self.case.documents[first : min(first + BATCH, stop)])
        self._filled = stop
        self._index_above(threshold)
        peak_mib, indexed = self._wait(LIVE)
        seconds = round(time.perf_counter() - began, 1)
        self._note(filled=stop, indexed=indexed, seconds=seconds, peak_disk_mib=peak_mib)

    def copy(self) -> None:
        """Make the second collection: the first one's snapshot, restored."""
        made = self._ask("POST", f"/collections/{LIVE}/snapshots")["name"]
        file = self._folder / "snapshots" / LIVE / made
        body = {"location": file.as_uri()}
        self._ask("PUT", f"/collections/{CANDIDATE}/snapshots/recover", json=body)
        file.unlink()
        self._wait(CANDIDATE)

    def drop(self) -> None:
        """Remove the second collection, as `prune` does."""
        self._ask("DELETE", f"/collections/{CANDIDATE}")

    def rest(self, *, collections: int) -> None:
        """Note what the server takes after a restart and some queries."""
        self.server.restart()
        for collection in (LIVE, CANDIDATE)[:collections]:
            for vector in self._vectors(QUERIES):
                self.store.search(collection, vector, k=10, registrant=None)
        disk = disk_mib(self._folder / "storage")
        self._note(collections=collections, points=self._filled, disk_mib=disk)

    def close(self) -> None:
        """Let go of the server."""
        self.store.close()
        self.server.stop()

    def _write(self, documents: Sequence[Document]) -> None:
        records = [Record.of(document, time.time_ns() // 1000) for document in documents]
        write = Write(
            ids=[point_id(document.doi) for document in documents],
            vectors=self._vectors(len(documents)),
            payloads=[
                payload(record, job=JOB, text_from="title" if record.stamps else "doi")
                for record in records
            ],
        )
        self.store.upsert(LIVE, write, revisions=())

    def _vectors(self, count: int) -> Any:
        vectors = self._random.standard_normal((count, DIMENSION), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _index_above(self, kib: int) -> int:
        """Let Qdrant index segments from this size on; 0: none. Returns what it was."""
        path = f"/collections/{LIVE}"
        config = self._ask("GET", path)["config"]["optimizer_config"]
        self._ask("PATCH", path, json={"optimizers_config": {"indexing_threshold": kib}})
        return int(config["indexing_threshold"])

    def _wait(self, collection: str) -> tuple[float, int]:
        """Until all is indexed: the most that lay on disk, in MiB, and how many vectors are."""
        calm, peak_mib, info = 0, 0.0, {}
        while calm < CALM:
            peak_mib = max(peak_mib, disk_mib(self._folder / "storage"))
            time.sleep(0.5)
            info = self._ask("GET", f"/collections/{collection}")
            calm = calm + 1 if info["status"] == "green" else 0
        return peak_mib, info["indexed_vectors_count"]

    def _ask(self, method: str, path: str, *, json: Any = None) -> Any:
        url = self.server.url + path
        answer = httpx.request(method, url, json=json, timeout=TIMEOUT_S, trust_env=False)
        return answer.raise_for_status().json()["result"]

    def _note(self, **facts: Any) -> None:
        self.rows.append({**facts, **memory(self.server.pid)})
        print(self.case.name, self.rows[-1], file=sys.stderr, flush=True)


def measure(case: Case) -> dict[str, Any]:
    """The footprints of a case, from an empty server to the last size, and their slopes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), case)
        try:
            for stop in (case.first, case.last):
                bench.fill(stop)
                bench.rest(collections=1)
                bench.copy()
                bench.rest(collections=2)
                bench.drop()
        finally:
            bench.close()
    return {
        "options": case.options,
        **described(case.documents),
        "a_million": {str(n): slope(bench.rows, collections=n) for n in (1, 2)},
        "rows": bench.rows,
    }


def slope(rows: Sequence[dict[str, Any]], *, collections: int) -> Footprint:
    """What a million more points take, in MiB, by the two sizes that were measured."""
    small, large = (row for row in rows if row.get("collections") == collections)
    points = large["points"] - small["points"]
    names = ("anon_mib", "file_mib", "disk_mib")
    return {name: round((large[name] - small[name]) / points * 1e6) for name in names}


def described(documents: Sequence[Document]) -> dict[str, Any]:
    """How large the records are."""
    texts = [len("".join(map(str, document.metadata.values())).encode()) for document in documents]
    return {
        "mean_doi_bytes": round(sum(len(d.doi.encode()) for d in documents) / len(documents), 1),
        "mean_metadata_bytes": round(sum(texts) / len(texts), 1),
        "with_abstract": sum(document.abstract is not None for document in documents),
    }


def memory(pid: int) -> Footprint:
    """What a process has resident: its own, mapped from files, and the peak of both, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    names = {"anon_mib": "RssAnon", "file_mib": "RssFile", "peak_mib": "VmHWM"}
    return {
        key: round(int(re.findall(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024, 1)
        for key, field in names.items()
    }


def disk_mib(folder: Path) -> float:
    """What the files below a folder occupy on disk, in MiB."""
    blocks = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                blocks += Path(base, name).stat().st_blocks
            except FileNotFoundError:
                continue  # a segment that was just replaced
    return round(blocks * 512 / MIB, 1)


def records(name: str, count: int) -> list[Document]:
    """The first `count` documents of a file of real data."""
    found = read(str(DATA / name), limits=LimitSettings())
    return list(islice((item for item in found if isinstance(item, Document)), count))


LOADS = """
import sys
from benchmarks.machine import dois
from benchmarks.sizing import memory
from worker.model.embedder import Embedder
import os, worker.tasks
loaded = [Embedder.load("base", device="cpu") for _ in range(int(sys.argv[1]))]
for embedder in loaded:
    embedder.encode(dois(1024))
print(memory(os.getpid()))
"""


def worker_memory(models: int) -> Footprint:
    """What a worker's process has resident with so many models, after a batch by each."""
    command = [sys.executable, "-c", LOADS, str(models)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: Footprint = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    return found


def cases(scale: float) -> Iterator[Case]:
    """What is measured, at a share of the full size."""
    size = partial(_scaled, scale)
    bare = records("dois_1m.txt.xz", size(60_000))
    rich = records("metadata.jsonl.xz", size(60_000))
    yield Case("bare", bare, size(30_000), size(60_000), {})
    yield Case("titles", rich, size(30_000), size(60_000), {})
    yield Case("on_disk", bare, size(30_000), size(60_000), {"vectors": {"on_disk": True}})


def _scaled(scale: float, count: int) -> int:
    return int(count * scale)


def main() -> None:
    """Measure once; it takes ten minutes on two cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the full size")
    parser.add_argument("--name", default="sizing", help="of the file of results")
    options = parser.parse_args()
    models = {str(count): worker_memory(count) for count in (0, 1, 2)}
    print(models, file=sys.stderr, flush=True)
    found: dict[str, Any] = {"vectors": "random", "worker": models}
    for case in cases(options.scale):
        found[case.name] = measure(case)
        write_result(options.name, found)  # each takes minutes


if __name__ == "__main__":
    main()
