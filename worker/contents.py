"""What a collection holds: what it lacks of a list, all that is known of one record, all of it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from worker.errors import CollectionMissing, Unanswerable
from worker.store.points import chunks
from worker.store.protocol import VectorStore

DOIS_A_PAGE = 1024
RECORDS_A_PAGE = 256  # of 1 MiB at the most, and all in memory at once
VECTOR = "vector"


class Lack(StrEnum):
    """What a collection lacks of a DOI."""

    RECORD = "absent"
    TITLE = "no title"


class Known(NamedTuple):
    """What the collections of an alias have of one DOI.

    `payload` is that of the live collection, None where it lacks the DOI; `others` are further
    collections that have it (a candidate, older versions).
    """

    collection: str
    payload: Mapping[str, Any] | None
    others: tuple[str, ...]


class Contents:
    """The live collection behind an alias, as it was when this was made.

    All reads are bounded in memory. Raises `Unanswerable` where nothing is ingested yet, and
    `CollectionMissing` where the collection is pruned meanwhile.
    """

    def __init__(self, store: VectorStore, *, alias: str) -> None:
        live = store.live(alias)
        if live is None:
            raise Unanswerable(f"nothing is ingested yet: there is no alias {alias!r}")
        self._store = store
        self._alias = alias
        self.collection = live

    def missing(self, dois: Iterable[str]) -> Iterator[tuple[str, Lack]]:
        """Those of canonical DOIs that aren't there, or have no title, in their order."""
        left = iter(dois)
        while page := dict.fromkeys(islice(left, DOIS_A_PAGE)):
            ids = {doi: point_id(doi) for doi in page}
            there = self._store.payloads(self.collection, list(ids.values()), fields=["title"])
            for doi, i in ids.items():
                if i not in there:
                    yield doi, Lack.RECORD
                elif not there[i].get("title"):
                    yield doi, Lack.TITLE

    def lacking(self, fields: Collection[str]) -> Iterator[tuple[str, list[str]]]:
        """The DOIs of records that lack one of these fields, each with the fields that it has.

        They come in no particular order. Points that doivec didn't write are no records.
        """
        wanted = set(fields)
        for page in self._store.scan(self.collection, ["doi", "fields"]):
            for _, payload in page:
                known = payload.get("fields")
                if isinstance(known, Mapping) and not wanted <= known.keys():
                    yield str(payload["doi"]), list(known)

    def look(self, doi: str) -> Known:
        """What is known of a canonical DOI."""
        i = point_id(doi)
        payload = self._store.payloads(self.collection, [i]).get(i)
        names = self._store.collections(self._alias)
        others = (name for name in names if name != self.collection and self._has(name, i))
        return Known(self.collection, payload, tuple(others))

    def documents(self, dois: Sequence[str]) -> dict[str, Document]:
        """What is known of these canonical DOIs; one of which it is nothing may be absent.

        All of it is in memory at once. Points that doivec didn't write are no records.
        """
        ids = {point_id(doi): doi for doi in dois}
        fields = ["revision", *METADATA_FIELDS]
        there = self._store.payloads(self.collection, list(ids), fields=fields)
        return {
            ids[i]: Document(doi=ids[i], **{n: p[n] for n in METADATA_FIELDS if n in p})
            for i, p in there.items()
            if p.get("revision")
        }

    def records(self, *, vectors: bool) -> Iterator[list[dict[str, Any]]]:
        """The payload of every point in pages, in no particular order, each point once.

        With `vectors`, each has its vector float32 [d] besides, as `vector`.
        """
        for page in self._store.scan(self.collection, ()):
            for chunk in chunks([i for i, _ in page], RECORDS_A_PAGE):
                if vectors:
                    points = self._store.points(self.collection, chunk).values()
                    yield [{**payload, VECTOR: vector} for payload, vector in points]
                else:
                    yield list(self._store.payloads(self.collection, chunk).values())

    def _has(self, collection: str, i: str) -> bool:
        try:
            return bool(self._store.payloads(collection, [i], fields=["doi"]))
        except CollectionMissing:  # pruned just now
            return False
