"""What one collection has and other ones lack."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.model import ModelVersion, fields_of, text_from
from worker.ingest.settlement import covers
from worker.store.points import STORED_FIELDS, stored
from worker.store.protocol import Stored, VectorStore

Buried = Callable[[Sequence[str]], Mapping[str, int]]
RECENT_DAYS = 7
DAY_US = 24 * 3600 * 1_000_000
SHOWN = 5


class Part(NamedTuple):
    """Part of a collection: how many points were looked at, and the payloads of those left over."""

    points: int
    left: dict[str, dict[str, Any]]


class Page(NamedTuple):
    """Part of a collection: how many points were looked at, and those that the others lack.

    `lacking` are the DOIs that a model can read, `unreadable` those that it can't, with their
    sequences.
    """

    points: int
    lacking: list[str]
    unreadable: dict[str, int]


class Unread:
    """Records that a model can't read: how many, the first few, and how many came lately."""

    def __init__(self) -> None:
        self.count = 0
        self.recent = 0
        self.first: list[str] = []
        self._since = time.time() * 1_000_000 - RECENT_DAYS * DAY_US  # a sequence is such a time

    def add(self, found: Mapping[str, int]) -> None:
        """Count these DOIs, each given with its sequence."""
        self.count += len(found)
        self.recent += sum(sequence >= self._since for sequence in found.values())
        self.first += islice(found, max(0, SHOWN - len(self.first)))

    @property
    def names(self) -> str:
        """The first few, and whether there are more."""
        return ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")

    @property
    def outlook(self) -> str:
        """What will become of others like them; nothing where none came lately."""
        return outlook(self.recent)


def outlook(recent: int) -> str:
    """What becomes of records that a model can't read, if as many come as in the last days."""
    if not recent:
        return ""
    return (
        f"{recent:,} of them came in the last {RECENT_DAYS} days, {recent / RECENT_DAYS:,.1f} a "
        "day: once this model is live, the like of them end as dead letters (missing_metadata)"
    )


def uncovered(
    store: VectorStore,
    source: str,
    holders: Sequence[str],
    *,
    buried: Buried,
    fields: Sequence[str] = STORED_FIELDS,
) -> Iterator[Part]:
    """Go through `source` for what none of the collections `holders` has, or only older.

    `buried` gives the tombstones among ids (see `Ledger.buried`): what was deleted lacks nobody.
    `fields` of the payloads are fetched; `STORED_FIELDS` must be among them.
    """
    for page in store.scan(source, fields):
        left = dict(page)
        for holder in holders:
            there = store.read(holder, list(left)) if left else {}
            left = {i: p for i, p in left.items() if not _is_covered(there.get(i), p)}
        deleted = buried(list(left))
        yield Part(len(page), {i: p for i, p in left.items() if _age(p) >= deleted.get(i, 0)})


def pages(
    store: VectorStore,
    source: str,
    holders: Sequence[str],
    *,
    buried: Buried,
    version: ModelVersion,
) -> Iterator[Page]:
    """Go through `source` for what `holders` lack, and whether the model `version` can read it.

    See `uncovered`. A point that isn't under its own DOI's id is no record of doivec's, and counts
    as unreadable.
    """
    for part in uncovered(store, source, holders, buried=buried, fields=_needed(version)):
        found = Page(part.points, [], {})
        for i, payload in part.left.items():
            document = document_of(payload)
            if point_id(document.doi) == i and text_from(document, version.templates):
                found.lacking.append(document.doi)
            else:
                found.unreadable[document.doi] = _age(payload)
        yield found


def _is_covered(there: Stored | None, payload: Mapping[str, Any]) -> bool:
    if there is None:
        return False
    is_same = there.content_hash == payload.get("content_hash")
    if is_same and there.sequence >= payload.get("sequence", 0):
        return True  # as nearly always: the rest of the comparison takes longer
    return covers(there, stored(payload))


def _age(payload: Mapping[str, Any]) -> int:
    return int(payload.get("sequence", 0))


def _needed(version: ModelVersion) -> list[str]:
    named = set(chain.from_iterable(map(fields_of, version.templates)))
    return [*STORED_FIELDS, *(name for name in METADATA_FIELDS if name in named)]


def document_of(payload: Mapping[str, object]) -> Document:
    """The record that a payload, or some of its fields, tells of."""
    metadata = {name: payload.get(name) for name in METADATA_FIELDS}
    return Document.model_validate({"doi": str(payload.get("doi", "")), **metadata})
