"""How records end: what is decided before anything is written, and what came of a batch."""

from collections import Counter
from collections.abc import Sequence

from schemas.document import GIVEN, Document
from schemas.job import Batch, DeadLetter, State
from schemas.record import Record, Stamp
from worker.store.protocol import Stored
from worker.telemetry import Work


class Outcome:
    """The state in which each record of a batch ended, by DOI.

    `untaken` are the DOIs of records that the candidate of a promotion could not take. `work` is
    the batch in hand, which is told how far it is.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.states: dict[str, State] = {}
        self.dead: dict[str, DeadLetter] = {}
        self.untaken: list[str] = []

    @property
    def counts(self) -> Counter[State]:
        """How many records ended in each state."""
        return Counter(self.states.values())

    def end(self, documents: Sequence[Document], state: State) -> None:
        """Note that `documents` ended in `state`."""
        self.states.update((document.doi, state) for document in documents)

    def bury(self, document: Document, batch: Batch, *, stage: str, reason: str) -> None:
        """Note that `document` could not be stored."""
        self.states[document.doi] = State.DEAD
        self.dead[document.doi] = DeadLetter(
            job=batch.job, sequence=batch.sequence, stage=stage, reason=reason, document=document
        )


def standing(
    document: Document, batch: Batch, *, stored: Stored | None, tombstone: int
) -> State | None:
    """The state that a record is in before anything is done, as far as that can be told at sight.

    None where what is stored must be looked at (see `place`) or nothing is. A record that this
    very batch wrote, before a crash, counts as stored by it. What was looked up for a record that
    is deleted meanwhile does not bring it back.
    """
    if max(tombstone, stored.deleted if stored else 0) > batch.sequence:
        return State.SUPERSEDED
    if stored is None or stored.sequence < tombstone:
        return None if document.source == GIVEN else State.SUPERSEDED
    if batch.sequence in {stored.sequence, *(stamp.sequence for stamp in stored.stamps.values())}:
        return State.STORED
    said = [
        (stored.stamps.get(name), Stamp(batch.sequence, document.source_of(name)))
        for name in document.metadata
    ]
    if all(there and there.source == mine.source for there, mine in said) and (
        document.is_bare or stored.content_hash == document.content_hash
    ):
        return State.UNCHANGED
    if said and all(there and there.rank > mine.rank for there, mine in said):
        # Where it says nothing itself, and only what the index added gives way, nothing changed.
        is_added = document.source == GIVEN and document.supplied.keys() >= document.metadata.keys()
        return State.UNCHANGED if is_added else State.SUPERSEDED
    return None


def place(
    document: Document, batch: Batch, *, there: Record | None, tombstone: int, contested: bool
) -> Record | State:
    """The record to be written, merged with what is there; or its state, where nothing must be.

    Where it is `contested` (an older record of this DOI may still come), it must leave its
    sequence even where it says nothing new: or the older one would replace what it found.
    """
    mine = Record.of(document, batch.sequence)
    left = there.since(tombstone) if there else None
    if left is None:
        lives = document.source == GIVEN  # what was looked up follows a record, and makes none
        return (mine.since(tombstone) if lives else None) or State.SUPERSEDED
    merged = left.merged(mine)
    says_new = merged.document != left.document or _sources(merged) != _sources(left)
    if says_new or (contested and merged.stamps != left.stamps):
        return merged
    own = set(document.metadata)
    if document.source == GIVEN:  # what the index added is nobody's word
        own -= document.supplied.keys()
    is_current = all(left.document.metadata.get(n) == document.metadata[n] for n in own)
    return State.UNCHANGED if is_current else State.SUPERSEDED


def covers(there: Stored | None, wanted: Stored) -> bool:
    """Whether merging `wanted` into what is there would change nothing."""
    if there is None:
        return False
    if there.revision == wanted.revision:  # as nearly always
        return True
    return (
        there.sequence >= wanted.sequence
        and there.deleted >= wanted.deleted
        and all(
            stamp.sequence < there.deleted
            or (name in there.stamps and there.stamps[name].rank >= stamp.rank)
            for name, stamp in wanted.stamps.items()
        )
    )


def _sources(record: Record) -> dict[str, str]:
    return {name: stamp.source for name, stamp in record.stamps.items()}
