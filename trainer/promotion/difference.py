"""What one collection has and another one lacks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.model import ModelVersion, fields_of, render
from worker.ingest.settlement import covers
from worker.store.points import STORED_FIELDS, stored
from worker.store.protocol import Stored, VectorStore


class Page(NamedTuple):
    """Part of a collection: how many points were looked at, and those that the other one lacks.

    `lacking` are the DOIs that its model can read, `unreadable` those that it can't.
    """

    points: int
    lacking: list[str]
    unreadable: list[str]


class Coverage(NamedTuple):
    """How many points a collection has, and the DOIs of those that a model can't read."""

    points: int
    unreadable: Sequence[str]


def can_read(version: ModelVersion, *, text_bytes: int) -> Callable[[Document], bool]:
    """Whether a record has what a version's templates need, and isn't too long."""

    def check(document: Document) -> bool:
        text = render(document, version.templates)
        return text is not None and len(text.encode()) <= text_bytes

    return check


def pages(
    store: VectorStore,
    source: str,
    target: str,
    *,
    buried: Callable[[Sequence[str]], Mapping[str, int]],
    version: ModelVersion,
    text_bytes: int,
) -> Iterator[Page]:
    """Go through `source` for what `target`, whose model is `version`, lacks or has older.

    `buried` gives the tombstones among ids (see `Ledger.buried`): what was deleted lacks nobody. A
    point that isn't under its own DOI's id is no record of doivec's, and counts as unreadable.
    """
    reads = can_read(version, text_bytes=text_bytes)
    for page in store.scan(source, _needed(version)):
        there = store.read(target, [i for i, _ in page])
        lacking = {i: payload for i, payload in page if not _is_covered(there.get(i), payload)}
        deleted = buried(list(lacking))
        found = Page(len(page), [], [])
        for i, payload in lacking.items():
            if stored(payload).sequence >= deleted.get(i, 0):
                document = document_of(payload)
                is_ours = point_id(document.doi) == i and reads(document)
                (found.lacking if is_ours else found.unreadable).append(document.doi)
        yield found


def _is_covered(there: Stored | None, payload: Mapping[str, Any]) -> bool:
    if there is None:
        return False
    is_same = there.content_hash == payload.get("content_hash")
    if is_same and there.sequence >= payload.get("sequence", 0):
        return True  # as nearly always: the rest of the comparison takes longer
    return covers(there, stored(payload))


def coverage(
    store: VectorStore, source: str, *, version: ModelVersion, text_bytes: int
) -> Coverage:
    """Which records of `source` the templates of `version` can't read."""
    reads = can_read(version, text_bytes=text_bytes)
    points, unreadable = 0, []
    for page in store.scan(source, _needed(version)):
        documents = [document_of(payload) for _, payload in page]
        points += len(documents)
        unreadable += [d.doi for d in documents if not reads(d)]
    return Coverage(points, unreadable)


def _needed(version: ModelVersion) -> list[str]:
    named = set(chain.from_iterable(map(fields_of, version.templates)))
    return [*STORED_FIELDS, *(name for name in METADATA_FIELDS if name in named)]


def document_of(payload: Mapping[str, object]) -> Document:
    """The record that a payload, or some of its fields, tells of."""
    metadata = {name: payload.get(name) for name in METADATA_FIELDS}
    return Document.model_validate({"doi": str(payload.get("doi", "")), **metadata})
