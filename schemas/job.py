"""Jobs, batches, and the states in which a record ends."""

import json
import zlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from schemas.document import GIVEN, Document


class State(StrEnum):
    """How an accepted record ended; each record ends in exactly one."""

    STORED = "stored"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    DEAD = "dead"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """The life of a job: open while it is produced, sealed when all of it is in the ledger.

    A list that can't be taken in is a job too, rejected, with the reason as its note.
    """

    OPEN = "open"
    SEALED = "sealed"
    PAUSED = "paused"
    SETTLED = "settled"
    REJECTED = "rejected"


NO_DOI = "no DOI"


class Rejection(NamedTuple):
    """A line or record that was not accepted, and why: `NO_DOI`, or what is invalid in it."""

    source: str
    line: int
    raw: str
    reason: str


class FieldDrop(NamedTuple):
    """A field that a record lost, since its value is none; the record itself was read."""

    source: str
    line: int
    field: str
    value: str
    reason: str


class ColumnUse(NamedTuple):
    """Which columns of a source were read, by our field, the first first, and which were not."""

    source: str
    used: dict[str, tuple[str, ...]]
    unused: tuple[str, ...]


class Reading(BaseModel):
    """What is told of a job's sources besides its counts."""

    model_config = ConfigDict(frozen=True)

    columns: tuple[ColumnUse, ...] = ()
    fields_dropped: int = 0
    first_dropped: tuple[FieldDrop, ...] = ()
    notes: tuple[str, ...] = ()


class DeadLetter(BaseModel):
    """A record that could not be stored: at which stage, and why."""

    model_config = ConfigDict(frozen=True)

    job: str
    sequence: int
    stage: str
    reason: str
    document: Document


class Batch(BaseModel):
    """The records of one batch, as the ledger keeps them under (job, number).

    `sequence` orders what is given of a DOI: microseconds since the epoch at acceptance, or the
    last one plus one. A batch holds a DOI once, so one number serves all its records; `again` are
    those DOIs of which an earlier batch of the job has something, too.
    """

    model_config = ConfigDict(frozen=True)

    job: str
    number: int
    sequence: int
    accepted_at: datetime
    documents: tuple[Document, ...]
    again: frozenset[str] = frozenset()


class Job(BaseModel):
    """A job's counts, as the ledger has them.

    read = accepted + repeated + invalid + without_doi; `reading` tells what else was read. It began
    when a worker first claimed one of its batches, and moved when the last of them settled.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    source: str
    state: JobState
    created_at: datetime
    began_at: datetime | None = None
    moved_at: datetime | None = None
    settled_at: datetime | None = None
    batch_records: int
    batches: int = 0
    settled_batches: int = 0
    read: int = 0
    accepted: int = 0
    repeated: int = 0
    invalid: int = 0
    without_doi: int = 0
    stored: int = 0
    unchanged: int = 0
    superseded: int = 0
    dead: int = 0
    cancelled: int = 0
    note: str = ""
    reading: Reading = Reading()

    @property
    def settled(self) -> int:
        """How many records have reached their end state."""
        return sum(getattr(self, state) for state in State)


def pack(documents: Sequence[Document]) -> bytes:
    """Documents as compressed JSON, about 10 bytes a bare DOI: a bare one is just its DOI."""
    rows = [_row(document) for document in documents]
    return zlib.compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode())


def unpack(body: bytes) -> tuple[Document, ...]:
    """The documents that `pack` packed, in their order; raises what parsing raises of others."""
    text = zlib.decompress(body)
    rows = json.loads(text)
    if b"\\u" in text:  # only there may be half a surrogate pair, which nobody could encode
        json.dumps(rows, ensure_ascii=False).encode()
    return tuple(Document(**({"doi": row} if isinstance(row, str) else row)) for row in rows)


def _row(document: Document) -> str | dict[str, Any]:
    said = document.metadata
    if document.source != GIVEN:
        said = said | {"source": document.source}
    if document.supplied:
        said = said | {"supplied": document.supplied}
    return {"doi": document.doi, **said} if said else document.doi
