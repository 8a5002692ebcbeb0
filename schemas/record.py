"""What is known of a DOI: for each field what was given for it last, in whatever order it came.

Merging is commutative, associative and idempotent: any number of workers may merge the same
records in any order, and more than once, and end with the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

from schemas.document import GIVEN, Document


class Stamp(NamedTuple):
    """When a field was given (the sequence of its batch), and by whom: `given`, or a source."""

    sequence: int
    source: str = GIVEN

    @property
    def rank(self) -> tuple[bool, int]:
        """What a person gave outranks what was looked up; else the later one stands."""
        return self.source == GIVEN, self.sequence


@dataclass(frozen=True)
class Record:
    """A document, when its DOI was given last, and a stamp for each of its metadata fields.

    What was given before `deleted` is gone: a late worker can't bring it back by merging.
    """

    document: Document
    sequence: int
    stamps: Mapping[str, Stamp]
    deleted: int = 0

    @classmethod
    def of(cls, document: Document, sequence: int) -> "Record":
        """A document as it was given under a sequence."""
        return cls(
            document=document.unsigned(),
            sequence=sequence,
            stamps={n: Stamp(sequence, document.source_of(n)) for n in document.metadata},
        )

    def merged(self, other: "Record") -> "Record":
        """What both say of one DOI, field by field."""
        deleted = max(self.deleted, other.deleted)
        stamps, values = dict[str, Stamp](), dict[str, Any]()
        for record in (self, other):
            for name, stamp in record.stamps.items():
                stands = name not in stamps or stamp.rank > stamps[name].rank
                if stamp.sequence >= deleted and stands:
                    stamps[name], values[name] = stamp, record.document.metadata[name]
        return Record(
            document=Document(doi=self.document.doi, **values),
            sequence=max(self.sequence, other.sequence),
            stamps=stamps,
            deleted=deleted,
        )

    def since(self, tombstone: int) -> "Record | None":
        """What is left of it after its DOI was deleted at `tombstone`; None where nothing is."""
        if self.sequence < tombstone:
            return None
        if self.deleted >= tombstone:
            return self
        bare = Document(doi=self.document.doi)
        return self.merged(
            Record(document=bare, sequence=self.sequence, stamps={}, deleted=tombstone)
        )

    @cached_property
    def revision(self) -> str:
        """The BLAKE2b-128 of all of it, 32 hexadecimal characters; no two DOIs share one."""
        stamps = (f"{name} {s.sequence} {s.source}" for name, s in sorted(self.stamps.items()))
        said = (self.document.content_hash, f"{self.sequence} {self.deleted}", *stamps)
        return blake2b("\n".join(said).encode(), digest_size=16).hexdigest()
