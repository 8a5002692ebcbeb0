"""What doivec needs of a vector store."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.search import Hit
from worker.errors import StoreRejected


class PointMissing(StoreRejected):
    """A query names a point that is not in the collection (any more)."""


class Stored(NamedTuple):
    """What a collection says of one point, without its vector."""

    content_hash: str
    sequence: int
    job: str
    is_bare: bool


class Write(NamedTuple):
    """Points to write under one condition: ids [n], vectors float32 [n, d], payloads [n].

    The values of a payload are strings and integers.
    """

    ids: Sequence[str]
    vectors: NDArray[np.float32]
    payloads: Sequence[Mapping[str, Any]]


class VectorStore(Protocol):
    """One alias and its collections, on a Qdrant server or in this process.

    Every method raises `StoreUnavailable` for what may pass, `StoreRejected` for what will not,
    `CollectionMissing` for a collection that does not exist, and `ConfigurationError` for what
    the settings got wrong. All may be called from any thread. Point ids are UUIDs in their
    36-character form; a point is bare where it has no title, abstract, year or venue.
    """

    def live(self, alias: str) -> str | None:
        """The collection that `alias` points at, or None where there is no such alias."""

    def create(self, collection: str, *, dimension: int) -> None:
        """Make a collection of cosine vectors float32 [dimension], payload indexes first.

        One that exists already with the same dimension is left as it is; with another one, it
        raises `ConfigurationError`.
        """

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """Point aliases that do not exist yet at `collection`.

        Qdrant has no compare-and-set for aliases: callers that could name different
        collections take turns under a lock of their own.
        """

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """What is stored under `ids`; absent ids are absent in the answer."""

    def upsert(self, collection: str, write: Write, *, sequence: int, bare: bool) -> None:
        """Write points, each on its condition; returns when all are durable.

        A point replaces what is there only if that has a lower sequence or is bare; a write of
        bare records (`bare`) replaces only bare ones with a lower sequence. Raises
        `StoreRejected` for what can't be stored; other points of the write may be stored then.
        """

    def delete(self, collection: str, ids: Sequence[str], *, below: int) -> None:
        """Remove those of `ids` whose sequence is lower than `below`; durable on return."""

    def search(
        self, collection: str, query: str | NDArray[np.float32], *, k: int, registrant: str | None
    ) -> list[Hit]:
        """The `k` nearest points by cosine, best first.

        `query` is a vector float32 [d], or the id of a stored point, which is not among its
        own hits. `registrant` keeps only DOIs of that prefix. Raises `PointMissing` where no
        such point is stored.
        """

    def count(self, collection: str) -> int:
        """The exact number of points."""

    def ids(self, collection: str) -> Iterator[str]:
        """The id of every point, each once, in no particular order."""

    def finish(self, collection: str) -> None:
        """After a job: build what makes queries fast, where the store does not by itself."""

    def close(self) -> None:
        """Let go of connections, files and locks."""
