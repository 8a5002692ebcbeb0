"""How records end: what is decided before anything is written, and what came of a batch."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from schemas.document import SCHEMA_VERSION, Document
from schemas.doi import registrant
from schemas.job import Batch, DeadLetter, State
from worker.store.protocol import Stored


class Outcome:
    """The state in which each record of a batch ended, by DOI.

    `untaken` are the DOIs of records that the candidate of a promotion could not take.
    """

    def __init__(self) -> None:
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
    """The state that a record is in before anything is done; None where it must be written.

    A record that this very batch wrote, before a crash, counts as stored by it.
    """
    if tombstone > batch.sequence:
        return State.SUPERSEDED
    if stored is None or stored.sequence < tombstone:
        return None
    if (stored.job, stored.sequence) == (batch.job, batch.sequence):
        return State.STORED
    if document.is_bare or stored.content_hash == document.content_hash:
        return State.UNCHANGED
    if stored.sequence > batch.sequence and not stored.is_bare:
        return State.SUPERSEDED
    return None


def covers(there: Stored | None, wanted: Stored) -> bool:
    """Whether writing `wanted` where `there` is would change nothing; see `VectorStore.upsert`."""
    if there is None:
        return False
    is_older = there.sequence < wanted.sequence
    return not (there.is_bare and is_older if wanted.is_bare else there.is_bare or is_older)


def is_overtaken(
    document: Document, batch: Batch, stored: Stored | None, state: State | None
) -> bool:
    """Whether a current record is stored under an older batch's sequence.

    Bare records are left out: they say nothing that an older one could contradict.
    """
    return (
        state is State.UNCHANGED
        and not document.is_bare
        and stored is not None
        and stored.sequence < batch.sequence
    )


def payload(document: Document, batch: Batch) -> dict[str, Any]:
    """What is stored beside the vector of a record."""
    return {
        "doi": document.doi,
        "registrant": registrant(document.doi),
        **document.metadata,
        "content_hash": document.content_hash,
        "sequence": batch.sequence,
        "job": batch.job,
        "accepted_at": batch.accepted_at.isoformat(),
        "schema_version": SCHEMA_VERSION,
    }
