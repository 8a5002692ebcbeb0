"""What both stores keep beside a vector, and read back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from schemas.document import METADATA_FIELDS, SCHEMA_VERSION, Document
from schemas.doi import registrant
from schemas.record import Record, Stamp
from schemas.search import Hit
from worker.errors import ConfigurationError, StoreRejected
from worker.store.protocol import Stored, Write

T = TypeVar("T")
STORED_FIELDS = ("revision", "content_hash", "job", "sequence", "deleted", "fields")
TEXT_FROM, OF_DOI = "text_from", "doi"  # what a vector was made of: the string of its DOI
HIT_FIELDS = ("doi", *METADATA_FIELDS)
QUERIES_A_CALL, HITS_A_CALL = 64, 10_000
INT64 = 2**63
RECORDS_A_PAGE = 1024  # some of 1 MiB, and all in memory at once
IDS_A_PAGE = 10_000
COLLECTION = "DOIVEC_QDRANT__COLLECTION"


def payload(record: Record, *, job: str, text_from: str) -> dict[str, Any]:
    """What is stored beside the vector of a record; `text_from` says what that was made of."""
    document = record.document
    stamps = record.stamps.items()
    return {
        "doi": document.doi,
        "registrant": registrant(document.doi),
        **document.metadata,
        "text_from": text_from,
        "fields": {name: stamp._asdict() for name, stamp in stamps},
        "content_hash": document.content_hash,
        "revision": record.revision,
        "sequence": record.sequence,
        **({"deleted": record.deleted} if record.deleted else {}),
        "job": job,
        "accepted_at": _time(record.sequence),
        "schema_version": SCHEMA_VERSION,
    }


@lru_cache
def _time(sequence: int) -> str:
    """When a batch was accepted: its records share it."""
    return datetime.fromtimestamp(sequence / 1e6, UTC).isoformat()


def stored(payload: Mapping[str, Any]) -> Stored:
    """What a payload says of its point; of one that doivec didn't write, next to nothing."""
    revision = str(payload.get("revision", ""))
    stamps = payload["fields"].items() if revision else ()
    return Stored(
        revision=revision,
        content_hash=str(payload.get("content_hash", "")),
        job=str(payload.get("job", "")),
        sequence=int(payload.get("sequence", 0)),
        deleted=int(payload.get("deleted", 0)),
        stamps={name: Stamp(int(s["sequence"]), s["source"]) for name, s in stamps},
    )


def record(payload: Mapping[str, Any]) -> Record | None:
    """The record that a point's whole payload tells of; None where doivec didn't write it."""
    there = stored(payload)
    if not there.revision:
        return None
    document = Document(doi=payload["doi"], **{name: payload[name] for name in there.stamps})
    return Record(document, there.sequence, there.stamps, there.deleted)


def hit(payload: Mapping[str, Any], *, score: float) -> Hit:
    """A point that was found."""
    metadata = {name: payload[name] for name in METADATA_FIELDS if name in payload}
    return Hit(doi=str(payload.get("doi", "")), score=score, metadata=metadata)


def page_size(fields: Sequence[str]) -> int:
    """How many points may be fetched at a time with these fields of their payload."""
    return RECORDS_A_PAGE if set(METADATA_FIELDS).intersection(fields) else IDS_A_PAGE


def ids_a_call(fields: Sequence[str] | None, *, few: int, many: int) -> int:
    """How many points may be asked for by id with these fields of their payload, or with all."""
    return few if fields is None or set(METADATA_FIELDS).intersection(fields) else many


def queries_a_call(k: int) -> int:
    """How many queries may be sent at a time where each has up to `k` hits."""
    return max(1, min(QUERIES_A_CALL, HITS_A_CALL // k))


def vector_options(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the settings want vectors kept; raises `ConfigurationError` where that isn't theirs."""
    options = settings.get("vectors", {})
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"{COLLECTION}: vectors: a mapping is expected")
    if ours := {"size", "distance"} & options.keys():
        raise ConfigurationError(f"{COLLECTION}: vectors.{min(ours)}: the model decides that")
    return options


def check(write: Write) -> None:
    """Raise `StoreRejected` for what Qdrant would take and keep as something else.

    It never finds vectors that are not finite, and Edge rounds integers of more than 64 bits.
    """
    import numpy as np  # noqa: PLC0415 - who writes has it; who reads what is kept needs none

    if not np.isfinite(write.vectors).all():
        raise StoreRejected("a vector that is not finite")
    for payload in write.payloads:
        for name, value in payload.items():
            if isinstance(value, int) and not -INT64 <= value < INT64:
                raise StoreRejected(f"{payload.get('doi')}: {name}: {value} has over 64 bits")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in runs of `size`, the last one shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
