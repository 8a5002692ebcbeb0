"""The ghost: a record that was older, after a kill of Qdrant, than what had settled.

It was seen once, in an early state of the code. Here several writers read the same records, merge
and write them under the condition that nobody else did meanwhile, and read them back, as workers
do; Qdrant is killed (SIGKILL) under them, and once more while it recovers. What a writer has seen
stored must be there afterwards, or something newer, with the vector that belongs to it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import point_id
from schemas.record import Record
from tests.support.servers import QdrantServer
from worker.patience import Patience
from worker.settings.servers import QdrantSettings
from worker.store.points import payload, record
from worker.store.protocol import Write
from worker.store.server import ServerStore

ROUNDS = 100
KILLS_A_ROUND = 5
WRITERS = 4
DIMENSION = 16
DOIS = {point_id(f"10.5555/{n}"): f"10.5555/{n}" for n in range(200)}
RECORDS_A_WRITE = 24
LONGEST_DELAY_S = 0.6
# Every other round: whatever Qdrant puts off otherwise it does all the time.
HASTY = {
    "optimizers_config": {
        "flush_interval_sec": 1,
        "indexing_threshold": 1,
        "default_segment_number": 2,
        "max_segment_size": 20,
    }
}


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """A round by its seed, in a collection of its own."""
    server = QdrantServer(folder / "qdrant")
    server.start()
    try:
        yield lambda seed: Hunt(server, seed).run()
    finally:
        server.stop()


class Hunt:
    """Writers on the same records, and a server that is killed under them."""

    def __init__(self, server: QdrantServer, seed: int) -> None:
        self._server = server
        self._chosen = random.Random(f"ghost {seed}")
        self._is_hasty = seed % 2 == 1
        self._collection = f"ghost-{seed}"
        self._settled: dict[str, int] = {}
        self._sequence = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []

    def run(self) -> list[str]:
        """Write, kill, and compare."""
        with closing(self._store()) as store:
            store.create(self._collection, dimension=DIMENSION)
            writers = [threading.Thread(target=self._write_on, args=(n,)) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            for _ in range(KILLS_A_ROUND):
                time.sleep(self._chosen.uniform(0, LONGEST_DELAY_S))  # the seed's moment
                self._server.kill()
                self._server.start()
            self._stop.set()
            for writer in writers:
                writer.join(60)
                assert not writer.is_alive(), "a writer hangs"
            assert not self._errors, self._errors
            self._compare(store)
            self._server.kill()
            self._server.start()
            self._compare(store)
            store.drop(self._collection)
        optimizer = "never rests" if self._is_hasty else "rests"
        return [f"kill of Qdrant whose optimizer {optimizer}"] * (KILLS_A_ROUND + 1)

    def _store(self) -> ServerStore:
        return ServerStore(
            QdrantSettings(
                url=self._server.url,
                grpc_port=self._server.grpc_port,
                collection=HASTY if self._is_hasty else {},
                timeout_s=10,
            )
        )

    def _write_on(self, number: int) -> None:
        chosen = random.Random(f"ghost {self._collection} {number}")
        try:
            with closing(self._store()) as store:
                while not self._stop.is_set():
                    self._write(store, chosen.sample(sorted(DOIS), RECORDS_A_WRITE))
        except BaseException as error:  # noqa: BLE001 - the hunt must hear of it
            self._errors.append(error)

    def _write(self, store: ServerStore, ids: list[str]) -> None:
        patience = Patience(give_up_s=60.0)
        sequence = self._next()
        there = patience(store.payloads, self._collection, ids)
        records = {}
        for i in ids:
            mine = Record.of(Document(doi=DOIS[i], title=f"as of {sequence}"), sequence)
            known = record(there[i]) if i in there else None
            records[i] = known.merged(mine) if known else mine
        write = Write(
            ids=ids,
            vectors=np.stack([_vector(records[i].sequence) for i in ids]),
            payloads=[payload(records[i], job=str(sequence), text_from="title") for i in ids],
        )
        revisions = {str(p["revision"]) for p in there.values()}
        patience(store.upsert, self._collection, write, revisions=revisions)
        seen = patience(store.read, self._collection, ids)
        with self._lock:
            for i in ids:
                if i in seen and seen[i].revision == records[i].revision:
                    self._settled[i] = max(self._settled.get(i, 0), records[i].sequence)

    def _next(self) -> int:
        with self._lock:
            self._sequence += 1
            return self._sequence

    def _compare(self, store: ServerStore) -> None:
        assert self._settled, "nothing was written at all"
        points = store.points(self._collection, list(DOIS))
        for i, sequence in self._settled.items():
            assert i in points, f"{DOIS[i]} is gone; it was written under {sequence}"
            found, vector = points[i]
            assert found["sequence"] >= sequence, f"older than what settled ({sequence}): {found}"
            assert found["title"] == f"as of {found['sequence']}", found
            cosine = float(np.dot(vector, _vector(found["sequence"])))
            assert cosine > 1 - 1e-5, f"the vector is another's ({cosine}): {found}"


def _vector(sequence: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(sequence).normal(size=DIMENSION)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)
