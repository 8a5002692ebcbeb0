"""The vector store in this process: Qdrant Edge, a directory per collection.

Edge has no aliases (a pointer file stands in) and holds Python's global lock during each call.
"""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from schemas.search import Hit
from worker.errors import CollectionMissing, ConfigurationError, StoreBusy, StoreUnavailable
from worker.files import sync, write_text
from worker.store.points import HIT_FIELDS, check, chunks, hit
from worker.store.protocol import Stored, Write
from worker.store.shard import (
    INDEXES,
    dimension_of,
    older,
    read,
    replaceable,
    shard_config,
    translated,
    vector_of,
    wanted,
)

POINTS_A_CALL = 1024
RECORDS_A_CALL = 256  # of 1 MiB at the most, and all in memory at once
IDS_A_PAGE = 4096
# An exact search takes 2 ms among 20,000 points and 20 ms among 100,000; the index brings that
# to 1.5 ms, but takes 8 s and 18 s to build, in which the process does nothing else.
OPTIMIZE_FROM_POINTS = 100_000


class EdgeStore:
    """A `VectorStore` in a directory, of which this process is the only user."""

    def __init__(self, root: Path, *, options: Mapping[str, Any]) -> None:
        """Take the directory; raises `StoreBusy` where another process has it.

        `options` is the mapping with which collections are made, as for a server. Edge knows
        `vectors.on_disk`, `hnsw_config`, `optimizers_config` and `on_disk_payload`; all others
        raise `ConfigurationError`, because data would not be kept as was asked.
        """
        self._options = options
        shard_config(options, dimension=1)
        self._root = root
        self._lock = _take(root)
        self._shards: dict[str, engine.EdgeShard] = {}
        self._opening = threading.RLock()

    def live(self, alias: str) -> str | None:
        """See `VectorStore`."""
        return self._aliases().get(alias)

    def create(self, collection: str, *, dimension: int) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            if not self._path(collection).exists():
                self._make(collection, dimension)
            there = dimension_of(self._path(collection))
        if there != dimension:
            raise ConfigurationError(
                f"the collection {collection} exists with vectors of {there} numbers; "
                f"the model's are of {dimension}"
            )

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            self._shard(collection)
            write_text(
                self._root / "aliases.json",
                json.dumps({**dict.fromkeys(aliases, collection), **self._aliases()}),
            )

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See `VectorStore`."""
        shard = self._shard(collection)
        pages = (read(shard, chunk) for chunk in chunks(ids, RECORDS_A_CALL))
        with translated():
            return dict(chain.from_iterable(pages))

    def upsert(self, collection: str, write: Write, *, sequence: int, bare: bool) -> None:
        """See `VectorStore`."""
        check(write)
        with translated():
            condition = replaceable(sequence, bare=bare)
            points = [
                engine.Point(i, vector, dict(payload))
                for i, vector, payload in zip(
                    write.ids, write.vectors.tolist(), write.payloads, strict=True
                )
            ]
        self._update(
            collection,
            (
                engine.UpdateOperation.upsert_points(list(chunk), condition=condition)
                for chunk in chunks(points, POINTS_A_CALL)
            ),
        )

    def delete(self, collection: str, ids: Sequence[str], *, below: int) -> None:
        """See `VectorStore`."""
        chosen = (older(chunk, below) for chunk in chunks(ids, POINTS_A_CALL))
        self._update(collection, map(engine.UpdateOperation.delete_points_by_filter, chosen))

    def search(
        self, collection: str, query: str | NDArray[np.float32], *, k: int, registrant: str | None
    ) -> list[Hit]:
        """See `VectorStore`."""
        shard = self._shard(collection)
        with translated():
            request = engine.QueryRequest(
                limit=k,
                query=engine.Query.Nearest(vector_of(shard, query)),
                filter=wanted(query, registrant),
                with_payload=list(HIT_FIELDS),
            )
            return [hit(p.payload or {}, score=p.score) for p in shard.query(request)]

    def count(self, collection: str) -> int:
        """See `VectorStore`."""
        shard = self._shard(collection)
        with translated():
            return shard.count(engine.CountRequest(exact=True))

    def ids(self, collection: str) -> Iterator[str]:
        """See `VectorStore`."""
        offset = None
        while True:
            page, offset = self._page(collection, offset)
            yield from page
            if offset is None:
                return

    def finish(self, collection: str) -> None:
        """Build the index where enough points are without; returns when it is built."""
        shard = self._shard(collection)
        with translated():
            info = shard.info()
            if info.points_count - info.indexed_vectors_count >= OPTIMIZE_FROM_POINTS:
                shard.optimize()
                shard.flush()

    def close(self) -> None:
        """See `VectorStore`."""
        with self._opening:
            for shard in self._shards.values():
                shard.close()
            self._shards.clear()
            self._lock.close()

    def _update(self, collection: str, operations: Iterator[engine.UpdateOperation]) -> None:
        shard = self._shard(collection)
        with translated():
            for operation in operations:
                shard.update(operation)
            shard.flush()  # only now is it on the disk

    def _page(self, collection: str, offset: Any) -> tuple[list[str], Any]:
        request = engine.ScrollRequest(
            offset=offset, limit=IDS_A_PAGE, with_payload=False, with_vector=False
        )
        shard = self._shard(collection)
        with translated():
            records, following = shard.scroll(request)
        return [str(record.id) for record in records], following

    def _shard(self, collection: str) -> engine.EdgeShard:
        with self._opening, translated():
            if self._lock.closed:
                raise StoreUnavailable("the store is closed")
            if collection not in self._shards:
                path = self._path(collection)
                if not path.exists():
                    raise CollectionMissing(f"there is no collection {collection} in {self._root}")
                self._shards[collection] = engine.EdgeShard.load(str(path))
            return self._shards[collection]

    def _make(self, collection: str, dimension: int) -> None:
        # Under another name first: a crash leaves no collection that is half made.
        scratch = self._root / f".{collection}"
        shutil.rmtree(scratch, ignore_errors=True)
        config = shard_config(self._options, dimension=dimension)
        shard = engine.EdgeShard.create(str(scratch), config)
        for field, schema in INDEXES.items():
            shard.update(engine.UpdateOperation.create_field_index(field, schema))
        shard.flush()
        shard.close()
        self._path(collection).parent.mkdir(exist_ok=True)
        scratch.rename(self._path(collection))
        sync(self._path(collection).parent)

    def _path(self, collection: str) -> Path:
        return self._root / "collections" / collection

    def _aliases(self) -> dict[str, str]:
        with translated(), suppress(FileNotFoundError):
            aliases: dict[str, str] = json.loads((self._root / "aliases.json").read_text())
            return aliases
        return {}


def _take(root: Path) -> IO[str]:
    """The directory's lock file, held until it is closed; it says whose it is."""
    root.mkdir(parents=True, exist_ok=True)
    lock = (root / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
        raise StoreBusy(
            f"{root} is in use by process {pid}; wait until it ends, "
            "or set DOIVEC_QDRANT__URL to share a Qdrant server"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
