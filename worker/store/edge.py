"""The vector store in this process: Qdrant Edge, a directory per collection.

Edge has no aliases (a pointer file stands in) and holds Python's global lock during each call.
"""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from schemas.search import Hit
from worker.errors import (
    CollectionMissing,
    ConfigurationError,
    StoreRejected,
    StoreUnavailable,
    SwitchRefused,
)
from worker.store.directory import Directory
from worker.store.names import guard_of, guards, versions
from worker.store.points import check, chunks, hit, ids_a_call, page_size, queries_a_call
from worker.store.protocol import Health, Query, Stored, Write
from worker.store.shard import (
    INDEXES,
    asked,
    dimension_of,
    older,
    payloads,
    points,
    read,
    replaceable,
    shard_config,
    translated,
    vectors,
)

POINTS_A_CALL = 1024
IDS_A_CALL = 4096
RECORDS_A_CALL = 256  # of 1 MiB at the most, and all in memory at once
# An exact search takes 2 ms among 20,000 points and 20 ms among 100,000; the index brings that
# to 1.5 ms, but takes 8 s and 18 s to build, in which the process does nothing else.
OPTIMIZE_FROM_POINTS = 100_000
OPEN_BYTES = 16 * 2**20
# A collection's first write took 15 MiB, each further one of 1,024 points 3 MiB; each file grows
# by 32 MiB at the most.
WRITE_BYTES = 64 * 2**20
COPIES = 3  # of what is written: in the log, in the storage, in an index


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
        self._directory = Directory(root)
        self._shards: dict[str, engine.EdgeShard] = {}
        self._opening = threading.RLock()

    def live(self, alias: str) -> str | None:
        """See `VectorStore`."""
        with translated():
            return self._directory.aliases().get(alias)

    def create(self, collection: str, *, dimension: int) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            path = self._directory.path(collection)
            if not path.exists():
                self._make(collection, dimension)
            there = dimension_of(path)
        if there != dimension:
            raise ConfigurationError(
                f"the collection {collection} exists with vectors of {there} numbers; "
                f"the model's are of {dimension}"
            )

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            self._shard(collection)
            there = self._directory.aliases()
            self._directory.write_aliases({**dict.fromkeys(aliases, collection), **there})

    def switch(self, alias: str, *, expected: str, collection: str) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            there = self._directory.aliases()
            if there.get(alias) not in {expected, collection}:
                live = there.get(alias)
                raise SwitchRefused(f"the alias {alias} points at {live}, not at {expected}")
            self._shard(collection)
            for guard in guards(alias, there):
                del there[guard]
            moved = {alias: collection, guard_of(alias, collection): collection}
            self._directory.write_aliases({**there, **moved})

    def assign(self, collection: str, *, deployment: str) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            self._shard(collection)
            self._directory.write_owner(collection, deployment)

    def deployment(self, collection: str) -> str | None:
        """See `VectorStore`."""
        with translated():
            return self._directory.owners().get(collection)

    def aliases(self) -> dict[str, str]:
        """See `VectorStore`."""
        with translated():
            return self._directory.aliases()

    def health(self, collection: str) -> Health:
        """See `VectorStore`."""
        self._shard(collection)
        return Health(version("qdrant-edge-py"), "green")

    def collections(self, alias: str) -> list[str]:
        """See `VectorStore`."""
        return versions(alias, self.names())

    def names(self) -> list[str]:
        """See `VectorStore`."""
        with translated():
            return sorted(self._directory.names())

    def drop(self, collection: str) -> None:
        """See `VectorStore`."""
        with self._opening, translated():
            there = self._directory.aliases().items()
            if pointing := sorted(alias for alias, target in there if target == collection):
                raise StoreRejected(f"{collection} is in use: {', '.join(pointing)} points at it")
            if shard := self._shards.pop(collection, None):
                shard.close()
            self._directory.remove(collection)

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            pages = (read(shard, chunk) for chunk in chunks(ids, IDS_A_CALL))
            return dict(chain.from_iterable(pages))

    def payloads(
        self, collection: str, ids: Sequence[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            size = ids_a_call(fields, few=RECORDS_A_CALL, many=IDS_A_CALL)
            pages = (payloads(shard, chunk, fields=fields) for chunk in chunks(ids, size))
            return dict(chain.from_iterable(pages))

    def points(
        self, collection: str, ids: Sequence[str]
    ) -> dict[str, tuple[dict[str, Any], NDArray[np.float32]]]:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            pages = (points(shard, chunk) for chunk in chunks(ids, RECORDS_A_CALL))
            return dict(chain.from_iterable(pages))

    def vectors(self, collection: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            pages = (vectors(shard, chunk) for chunk in chunks(ids, POINTS_A_CALL))
            return dict(chain.from_iterable(pages))

    def upsert(self, collection: str, write: Write, *, revisions: Collection[str]) -> None:
        """See `VectorStore`."""
        check(write)
        with translated():
            self._directory.require(WRITE_BYTES + COPIES * _size_bytes(write))
            condition = replaceable(revisions)
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
        self._directory.require(WRITE_BYTES)
        chosen = (older(chunk, below) for chunk in chunks(ids, POINTS_A_CALL))
        self._update(collection, map(engine.UpdateOperation.delete_points_by_filter, chosen))

    def query(self, collection: str, queries: Sequence[Query], *, k: int) -> list[list[Hit]]:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            calls = chunks([asked(query, k) for query in queries], queries_a_call(k))
            answers = (shard.query_batch(engine.QueryBatchRequest(list(call))) for call in calls)
            return [
                [hit(p.payload or {}, score=p.score) for p in found]
                for answer in answers
                for found in answer
            ]

    def status(self, collection: str) -> str:
        """See `VectorStore`: it has no optimizer that could fail beside us."""
        self._directory.path(collection)
        return "green"

    def count(self, collection: str, *, exact: bool = True) -> int:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            return shard.count(engine.CountRequest(exact=exact))

    def scan(
        self, collection: str, fields: Sequence[str]
    ) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """See `VectorStore`."""
        offset = None
        while True:
            request = engine.ScrollRequest(
                offset=offset, limit=page_size(fields), with_payload=list(fields), with_vector=False
            )
            with self._open(collection) as shard:
                records, offset = shard.scroll(request)
            yield [(str(record.id), record.payload or {}) for record in records]
            if offset is None:
                return

    def ids(self, collection: str) -> Iterator[str]:
        """See `VectorStore`."""
        return (i for page in self.scan(collection, ()) for i, _ in page)

    def finish(self, collection: str) -> bool:
        """See `VectorStore`."""
        with self._open(collection) as shard:
            info = shard.info()
            if info.points_count - info.indexed_vectors_count >= OPTIMIZE_FROM_POINTS:
                self._directory.require(WRITE_BYTES + self._directory.bytes_of(collection)[0])
                shard.optimize()
                shard.flush()
        return True

    def close(self) -> None:
        """See `VectorStore`."""
        with self._opening:
            for shard in self._shards.values():
                shard.close()
            self._shards.clear()
            self._directory.close()

    def _update(self, collection: str, operations: Iterator[engine.UpdateOperation]) -> None:
        with self._open(collection) as shard:
            for operation in operations:
                shard.update(operation)
            shard.flush()  # only now is it on the disk

    @contextmanager
    def _open(self, collection: str) -> Iterator[engine.EdgeShard]:
        shard = self._shard(collection)
        try:
            with translated():
                yield shard
        except StoreUnavailable as error:
            if self._shards.get(collection) is not shard:  # closed or dropped in the meantime
                self._directory.path(collection)
                raise CollectionMissing(f"the collection {collection} was dropped") from error
            raise

    def _shard(self, collection: str) -> engine.EdgeShard:
        with self._opening, translated():
            path = self._directory.path(collection)
            if collection not in self._shards:
                if not path.exists():
                    raise CollectionMissing(f"there is no collection {path}")
                self._directory.require(OPEN_BYTES + self._directory.bytes_of(collection)[1])
                self._shards[collection] = engine.EdgeShard.load(str(path))
            return self._shards[collection]

    def _make(self, collection: str, dimension: int) -> None:
        # Under another name first: a crash leaves no collection that is half made.
        scratch = self._directory.scratch(collection)
        self._directory.require(WRITE_BYTES)
        config = shard_config(self._options, dimension=dimension)
        shard = engine.EdgeShard.create(str(scratch), config)
        for field, schema in INDEXES.items():
            shard.update(engine.UpdateOperation.create_field_index(field, schema))
        shard.flush()
        shard.close()
        self._directory.add(scratch, collection)


def _size_bytes(write: Write) -> int:
    """About what a write holds: its vectors, and the characters of its payloads."""
    texts = (value for payload in write.payloads for value in payload.values())
    return write.vectors.nbytes + sum(len(text) for text in texts if isinstance(text, str))
