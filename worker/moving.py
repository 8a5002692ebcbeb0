"""From the embedded default to servers: the ledger, and every collection with its vectors."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from schemas.model import guard_alias
from worker.errors import ConfigurationError
from worker.ledger.ledger import Ledger
from worker.store.names import version_in
from worker.store.points import chunks
from worker.store.protocol import VectorStore, Write

POINTS_A_WRITE = 256  # of 1 MiB at the most, and all in memory at once


class Move:
    """What a data directory holds, to a Redis and a Qdrant; repeated, it goes on.

    Sequences, tombstones, jobs, dead letters and older versions come along; models are where they
    were. Nobody may work on either side meanwhile.
    """

    def __init__(
        self,
        *,
        ledgers: tuple[Ledger, Ledger],
        stores: tuple[VectorStore, VectorStore],
        alias: str,
        dimension: Callable[[str], int],
    ) -> None:
        self._here, self._there = ledgers
        self._store, self._target = stores
        self._alias = alias
        self._dimension = dimension

    def check(self) -> None:
        """Raise `ConfigurationError` where there is nothing to move, or the servers are in use."""
        own, other = self._here.identity(), self._there.identity()
        if own is None:
            raise ConfigurationError("there is nothing to move in the data directory")
        if other and other.id == own.id:
            raise ConfigurationError(f"deployment {own.id} has been moved to these servers already")
        if other:
            raise ConfigurationError(f"this Redis database is of deployment {other.id} already")
        for collection in self._target.collections(self._alias):
            whose = self._target.deployment(collection)
            if whose != own.id and (whose or self._target.count(collection)):
                raise ConfigurationError(f"this Qdrant has a collection {collection} already")

    def points(self) -> Iterator[tuple[int, int]]:
        """Copy every collection; tells how many points that were so far, and of how many."""
        own = self._here.identity()
        collections = self._store.collections(self._alias)
        total = sum(self._store.count(collection) for collection in collections)
        done = 0
        for collection in collections:
            self._target.create(collection, dimension=self._dimension(collection))
            self._target.assign(collection, deployment=own.id if own else "")
            for ids in self._pages(collection):
                self._copy(collection, ids)
                done += len(ids)
                yield done, total
            self._compare(collection)
        if live := self._store.live(self._alias):
            guard = guard_alias(self._alias, version_in(self._alias, live))
            self._target.publish([guard, self._alias], collection=live)

    def ledger(self) -> Iterator[int]:
        """Copy the ledger, behind the points; tells how many keys that were so far."""
        return self._here.copy_to(self._there)

    def _pages(self, collection: str) -> Iterator[Sequence[str]]:
        for page in self._store.scan(collection, ()):
            yield from chunks([i for i, _ in page], POINTS_A_WRITE)

    def _copy(self, collection: str, ids: Sequence[str]) -> None:
        # Where a move was cut off, points that are there are left as they are.
        there = self._target.payloads(collection, ids, fields=["sequence"])
        points = self._store.points(collection, [i for i in ids if i not in there])
        if points:
            payloads, vectors = zip(*points.values(), strict=True)
            write = Write(list(points), np.stack(vectors), payloads)
            self._target.upsert(collection, write, revisions=())

    def _compare(self, collection: str) -> None:
        here, there = self._store.count(collection), self._target.count(collection)
        if here != there:
            raise ConfigurationError(
                f"{collection} has {here:,} points here and {there:,} there: somebody writes to one"
            )
