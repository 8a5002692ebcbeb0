"""What the index has of DOIs, and of itself."""

from typing import NamedTuple

from schemas.document import Document
from worker.metadata import bodies


class Entry(NamedTuple):
    """What the index has of a DOI from one source.

    `document` is None where the source doesn't know the DOI. `dated` is when the source changed
    its record (0: it didn't say), `kept` when it was asked or read, `until` when it is to be asked
    again, all in Unix seconds; None is never.
    """

    source: str
    document: Document | None
    dated: int
    kept: int
    until: int | None


class Counts(NamedTuple):
    """How many DOIs a source knows, how many it doesn't, and how many of both are to be asked."""

    found: int
    absent: int
    due: int


class File(NamedTuple):
    """A file of a snapshot that was indexed: what of it (`scope`), how large and old it was then.

    `records` are those that were kept of it, `done` when, in Unix seconds.
    """

    path: str
    scope: str
    size: int
    mtime_ns: int
    records: int
    done: int


class Dictionary(NamedTuple):
    """The dictionary that new records are compressed with, and of how many it was made."""

    number: int
    samples: int
    bytes: bytes


NO_DICTIONARY = Dictionary(bodies.NONE, 0, b"")
