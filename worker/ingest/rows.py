"""Which records of a batch must be written to a collection; all others have their end state."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Batch, State
from schemas.record import Record
from worker.errors import CollectionMissing, ConfigurationError
from worker.ingest.settlement import Outcome, covers, place, standing
from worker.ledger.ledger import Claim, Ledger
from worker.patience import Patience
from worker.store.points import record, stored
from worker.store.protocol import Stored, VectorStore


class There(NamedTuple):
    """What a collection has of a record: its revision, and what doivec knows of it."""

    revision: str
    job: str
    record: Record | None


class Row(NamedTuple):
    """A record to be written, merged with what is `there`, if that is still there then.

    `given` is what the batch has of it, `job` the one that gave it last.
    """

    given: Document
    record: Record
    job: str
    there: There | None


class Reader:
    """Compares batches with what is stored and what is buried."""

    def __init__(
        self, ledger: Ledger, store: VectorStore, *, alias: str, patience: Patience
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._alias = alias
        self._patience = patience

    def live(self) -> str:
        """The live collection; raises `ConfigurationError` where the alias is gone."""
        live = self._patience(self._store.live, self._alias)
        if live is None:
            raise ConfigurationError(f"the alias {self._alias!r} is gone")
        return live

    def clear(self, collection: str, tombstones: Mapping[str, int]) -> None:
        """Remove the points under `tombstones` (ids with their sequences) that are older."""
        self._patience(delete_buried, self._store, collection, tombstones)

    def clear_everywhere(self, tombstones: Mapping[str, int]) -> None:
        """The same in all collections of the alias."""
        if not tombstones:
            return
        for collection in self._patience(self._store.collections, self._alias):
            with suppress(CollectionMissing):  # pruned just now
                self.clear(collection, tombstones)

    def to_ingest(
        self, claim: Claim, documents: Sequence[Document], *, collection: str, outcome: Outcome
    ) -> list[Row]:
        """The documents of a batch that say something which `collection` doesn't know yet."""
        ids = {point_id(d.doi): d for d in documents}
        buried = self._patience(self._ledger.buried, list(ids))
        # Before the store is read: an older record that comes between the two would be missed.
        telling = [d.doi for d in documents if not d.is_bare]
        contested = self._patience(self._ledger.contested, claim.batch, telling)
        seen = self._patience(self._store.read, collection, list(ids))
        # A worker that died may have written one after it was deleted.
        back = {i: tombstone for i, tombstone in buried.items() if _is_back(seen.get(i), tombstone)}
        self.clear(collection, back)
        left = {}
        for i, document in ids.items():
            tombstone = buried.get(i, 0)
            state = standing(document, claim.batch, stored=seen.get(i), tombstone=tombstone)
            if state is None or (state is State.UNCHANGED and document.doi in contested):
                left[i] = document
            else:
                outcome.end([document], state)
        there = self._there(collection, [i for i in left if i in seen])
        rows = []
        for i, document in left.items():
            row = _row(
                document,
                claim.batch,
                there=there.get(i),
                tombstone=buried.get(i, 0),
                contested=document.doi in contested,
            )
            if isinstance(row, Row):
                rows.append(row)
            else:
                outcome.end([document], row)
        return rows

    def to_copy(
        self, source: str, documents: Sequence[Document], *, collection: str, outcome: Outcome
    ) -> list[Row]:
        """Of the documents' records in `source`, those that say more than `collection` knows."""
        ids = {point_id(d.doi): d for d in documents}
        payloads = self._patience(self._store.payloads, source, list(ids))
        buried = self._patience(self._ledger.buried, list(ids))
        seen = self._patience(self._store.read, collection, list(ids))
        known = {i: r for i, p in payloads.items() if (r := record(p))}
        found = {i: left for i, r in known.items() if (left := r.since(buried.get(i, 0)))}
        new = {i for i in found if not covers(seen.get(i), stored(payloads[i]))}
        there = self._there(collection, [i for i in new if i in seen])
        rows = []
        for i, document in ids.items():
            if i in new:
                job = str(payloads[i]["job"])
                rows.append(_copy(document, found[i], job=job, there=there.get(i)))
            else:
                outcome.end([document], State.UNCHANGED if i in found else State.SUPERSEDED)
        return rows

    def _there(self, collection: str, ids: Sequence[str]) -> dict[str, There]:
        payloads = self._patience(self._store.payloads, collection, ids) if ids else {}
        return {
            i: There(str(p.get("revision", "")), str(p.get("job", "")), record(p))
            for i, p in payloads.items()
        }


def delete_buried(store: VectorStore, collection: str, tombstones: Mapping[str, int]) -> None:
    """Remove the points under `tombstones` (ids with their sequences) that are older."""
    for sequence, group in groupby(sorted(tombstones, key=tombstones.__getitem__), tombstones.get):
        store.delete(collection, list(group), below=sequence or 0)


def _is_back(there: Stored | None, tombstone: int) -> bool:
    """Whether a point is there that was deleted at `tombstone`."""
    return bool(there and there.revision and there.sequence < tombstone)


def _row(
    document: Document, batch: Batch, *, there: There | None, tombstone: int, contested: bool
) -> Row | State:
    known = there.record if there else None
    placed = place(document, batch, there=known, tombstone=tombstone, contested=contested)
    if isinstance(placed, State):
        return placed
    if there and placed.sequence > batch.sequence:
        return Row(document, placed, there.job, there)
    return Row(document, placed, batch.job, there)


def _copy(document: Document, found: Record, *, job: str, there: There | None) -> Row:
    if there is None or there.record is None:
        return Row(document, found, job, there)
    merged = there.record.merged(found)
    is_newest = merged.sequence == found.sequence
    return Row(document, merged, job if is_newest else there.job, there)
