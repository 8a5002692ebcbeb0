"""Which records of a batch must be written to a collection; all others have their end state."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.job import State
from worker.errors import CollectionMissing, ConfigurationError
from worker.ingest.settlement import Outcome, covers, is_overtaken, payload, standing
from worker.ledger.ledger import Claim, Ledger
from worker.patience import Patience
from worker.store.points import stored
from worker.store.protocol import VectorStore

PAYLOAD_FIELDS = (
    *("doi", "registrant", *METADATA_FIELDS, "content_hash", "sequence", "job", "accepted_at"),
    "schema_version",
)
INSERT_ONLY = 0  # no stored point has a lower sequence


class Row(NamedTuple):
    """A record to be written: what replaces what is there only on the condition of a sequence."""

    document: Document
    payload: Mapping[str, Any]
    sequence: int
    bare: bool


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
        """The documents of a batch that `collection` lacks, or has in an older state."""
        batch = claim.batch
        ids = {point_id(d.doi): d for d in documents}
        buried = self._patience(self._ledger.buried, list(ids))
        there = self._patience(self._store.read, collection, list(ids))
        dead = self._patience(self._ledger.dead_among, [d.doi for d in documents if not d.is_bare])
        # What a deletion has yet to reach would refuse the writing of a bare record.
        late = {i: buried[i] for i, s in there.items() if s.sequence < buried.get(i, 0)}
        self.clear(collection, late)
        rows = []
        for i, document in ids.items():
            found = there.get(i)
            state = standing(document, batch, stored=found, tombstone=buried.get(i, 0))
            # An older record of another job that is written later would replace what this newer
            # one found to be current, unless it leaves its number: it is written again.
            is_contested = claim.contested or document.doi in dead
            rewrite = is_contested and is_overtaken(document, batch, found, state)
            if state is None or rewrite:
                said = payload(document, batch)
                rows.append(Row(document, said, batch.sequence, document.is_bare))
            else:
                outcome.end([document], state)
        return rows

    def to_copy(
        self, source: str, documents: Sequence[Document], *, collection: str, outcome: Outcome
    ) -> list[Row]:
        """Of the documents' records in `source`, those that `collection` lacks or has older."""
        ids = {point_id(d.doi): d for d in documents}
        payloads = self._patience(self._store.payloads, source, list(ids))
        buried = self._patience(self._ledger.buried, list(ids))
        there = self._patience(self._store.read, collection, list(ids))
        rows = []
        for i, document in ids.items():
            found = payloads.get(i, {})
            wanted = stored(found)
            if not found or wanted.sequence < buried.get(i, 0):
                outcome.end([document], State.SUPERSEDED)
            elif covers(there.get(i), wanted):
                outcome.end([document], State.UNCHANGED)
            elif i in there:
                rows.append(_copy(found, wanted.sequence, bare=wanted.is_bare))
            else:
                # Of many batches, in one request: whatever is written meanwhile stays.
                rows.append(_copy(found, INSERT_ONLY, bare=True))
        return rows


def delete_buried(store: VectorStore, collection: str, tombstones: Mapping[str, int]) -> None:
    """Remove the points under `tombstones` (ids with their sequences) that are older."""
    for sequence, group in groupby(sorted(tombstones, key=tombstones.__getitem__), tombstones.get):
        store.delete(collection, list(group), below=sequence or 0)


def _copy(found: Mapping[str, Any], sequence: int, *, bare: bool) -> Row:
    metadata = {name: found[name] for name in METADATA_FIELDS if name in found}
    document = Document(doi=found["doi"], **metadata)
    kept = {name: found[name] for name in PAYLOAD_FIELDS if name in found}
    return Row(document, kept, sequence, bare)
