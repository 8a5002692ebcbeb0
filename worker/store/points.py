"""What both stores keep beside a vector, and read back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from schemas.document import METADATA_FIELDS, Document
from schemas.search import Hit
from worker.errors import ConfigurationError, StoreRejected
from worker.store.protocol import Stored, Write

T = TypeVar("T")
STORED_FIELDS = ("doi", "content_hash", "sequence", "job")
TEXT_FROM, OF_DOI = "text_from", "doi"  # what a vector was made of: the string of its DOI
HIT_FIELDS = ("doi", *METADATA_FIELDS)
QUERIES_A_CALL, HITS_A_CALL = 64, 10_000
INT64 = 2**63
RECORDS_A_PAGE = 1024  # some of 1 MiB, and all in memory at once
IDS_A_PAGE = 10_000
COLLECTION = "DOIVEC_QDRANT__COLLECTION"


def stored(payload: Mapping[str, Any]) -> Stored:
    """What a payload says of its point; fields that another program left out are empty.

    Whether the point is bare is read off its content hash, which spares the metadata.
    """
    content_hash = str(payload.get("content_hash", ""))
    bare = Document(doi=str(payload.get("doi", "")))
    return Stored(
        content_hash=content_hash,
        sequence=int(payload.get("sequence", 0)),
        job=str(payload.get("job", "")),
        is_bare=content_hash == bare.content_hash,
    )


def hit(payload: Mapping[str, Any], *, score: float) -> Hit:
    """A point that was found."""
    metadata = {name: payload[name] for name in METADATA_FIELDS if name in payload}
    return Hit(doi=str(payload.get("doi", "")), score=score, metadata=metadata)


def page_size(fields: Sequence[str]) -> int:
    """How many points may be fetched at a time with these fields of their payload."""
    return RECORDS_A_PAGE if set(METADATA_FIELDS).intersection(fields) else IDS_A_PAGE


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
