"""What doivec needs of a vector store."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from schemas.record import Stamp
from schemas.search import Filter, Hit

if TYPE_CHECKING:  # commands that handle no vector start without numpy
    import numpy as np
    from numpy.typing import NDArray


class Stored(NamedTuple):
    """What a collection says of one point, without its vector and its metadata.

    `stamps` tell when each of its fields was given; for the rest see `schemas.record.Record`.
    """

    revision: str
    content_hash: str
    job: str
    sequence: int
    deleted: int
    stamps: Mapping[str, Stamp]


class Write(NamedTuple):
    """Points to write under one condition: ids [n], vectors float32 [n, d], payloads [n].

    The values of a payload are strings, integers, and mappings of them.
    """

    ids: Sequence[str]
    vectors: "NDArray[np.float32]"
    payloads: Sequence[Mapping[str, Any]]


class Query(NamedTuple):
    """A vector float32 [d] whose neighbours are sought, and which points may be among them.

    `without` is the id of a point that may not: the one whose vector it is.
    """

    vector: "NDArray[np.float32]"
    only: Filter = Filter()
    without: str | None = None


class Health(NamedTuple):
    """How a collection is: green, yellow (at work), grey (to be optimized) or red.

    `troubles` are what stands in the way of writes and queries, `limits` the limits of a strict
    mode, by name; `engine` is Qdrant's version.
    """

    engine: str
    status: str
    troubles: Sequence[str] = ()
    limits: Mapping[str, str] = {}


class VectorStore(Protocol):
    """One alias and its collections, on a Qdrant server or in this process.

    Every method raises `StoreUnavailable` for what may pass, `StoreRejected` for what will not,
    `CollectionMissing` for a collection that does not exist, and `ConfigurationError` for what
    the settings got wrong. All may be called from any thread. Point ids are UUIDs in their
    36-character form.
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

    def switch(self, alias: str, *, expected: str, collection: str) -> None:
        """Move `alias` and its guard from `expected` to `collection`, in one call.

        The guard is the second alias (see `schemas.model.guard_alias`) whose renaming makes the
        move compare-and-set: of several that move from the same collection, one gets through.
        Raises `SwitchRefused` where `alias` points at neither of the two or another was first;
        a move that was cut short is completed, and one that is done already is no error.
        """

    def assign(self, collection: str, *, deployment: str) -> None:
        """Write to a collection of which deployment it is, durably."""

    def deployment(self, collection: str) -> str | None:
        """Of which deployment a collection is; None where nobody wrote it."""

    def aliases(self) -> dict[str, str]:
        """All aliases of the store, guards too, each with its collection."""

    def health(self, collection: str) -> Health:
        """How a collection is."""

    def collections(self, alias: str) -> list[str]:
        """The collections of versions behind `alias`, live or not, sorted by name."""

    def names(self) -> list[str]:
        """All collections of the store, of this alias, of others, and of none, sorted."""

    def drop(self, collection: str) -> None:
        """Remove a collection with all that it holds; one that isn't there is no error.

        Raises `StoreRejected` where an alias points at it. An alias that comes to point at it
        in the same moment may be lost with it: callers take turns with those who switch.
        """

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """What is stored under `ids`; absent ids are absent in the answer."""

    def payloads(
        self, collection: str, ids: Sequence[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """What is stored beside the vectors of `ids`: all of it, or these `fields` alone.

        Absent ids are absent in the answer. A payload may have 1 MiB, and all are in memory at
        once.
        """

    def points(
        self, collection: str, ids: Sequence[str]
    ) -> "dict[str, tuple[dict[str, Any], NDArray[np.float32]]]":
        """The payloads of `ids` as `payloads` gives them, each with the vector stored with it."""

    def vectors(self, collection: str, ids: Sequence[str]) -> "dict[str, NDArray[np.float32]]":
        """The vectors of `ids`, float32 [d] each; absent ids are absent in the answer."""

    def upsert(self, collection: str, write: Write, *, revisions: Collection[str]) -> None:
        """Write points, each on its condition; returns when all are durable.

        A point is inserted where there is none, and replaces one only if that has one of these
        revisions: what somebody else changed meanwhile is left as it is, and no error. "" stands
        for points without a revision, which doivec didn't write. Raises `StoreRejected` for what
        can't be stored; other points of the write may be stored then.
        """

    def delete(self, collection: str, ids: Sequence[str], *, below: int) -> None:
        """Remove those of `ids` whose sequence is lower than `below`; durable on return."""

    def query(self, collection: str, queries: Sequence[Query], *, k: int) -> list[list[Hit]]:
        """For each query the `k` nearest points by cosine among those it allows, best first.

        All hits are in memory at once, with their metadata.
        """

    def status(self, collection: str) -> str:
        """How a collection is: `green`, `yellow` or `grey` (being optimized), `red` (it can't)."""

    def count(self, collection: str, *, exact: bool = True) -> int:
        """The number of points; without `exact` about, but at once however many there are."""

    def scan(
        self, collection: str, fields: Sequence[str]
    ) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """The id of every point with these `fields` of its payload, in pages, each point once.

        They come in no particular order. Points that are written or removed meanwhile may or
        may not be among them.
        """

    def ids(self, collection: str) -> Iterator[str]:
        """The id of every point, as `scan` gives them."""

    def finish(self, collection: str) -> bool:
        """After many writes: see to it that queries are fast, or will soon be.

        Edge builds its index, if enough points are without; returns when it is built. A server
        does so by itself; it is waited for until it has, or until 20 deadlines of a call have
        passed: False says so. Raises `StoreUnavailable` where the server says that it can't.
        """

    def close(self) -> None:
        """Let go of connections, files and locks."""
