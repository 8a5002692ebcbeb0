"""Real records for the store's tests, with vectors that make similar DOIs neighbours."""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import point_id
from schemas.record import Record
from worker.store import points
from worker.store.protocol import Write

DIMENSION = 64
NOW = 1_795_430_000_000_000  # a sequence: microseconds since the epoch
DOIS = (
    "10.1038/s41586-020-2649-2",
    "10.1038/s41592-019-0686-2",
    "10.1038/nmeth.2089",
    "10.1103/physrevlett.77.3865",
    "10.1103/physrevb.54.11169",
    "10.1103/physrevb.59.1758",
    "10.1109/mcse.2007.55",
    "10.1109/mcse.2011.37",
    "10.1093/bioinformatics/btp163",
    "10.1016/0010-4655(95)00042-9",
    "10.1002/(sici)1097-4636(199823)43:4<338::aid-jbm1>3.0.co;2-b",
    "10.7717/peerj.453",
)
METADATA: Mapping[str, Mapping[str, Any]] = {
    "10.1038/s41586-020-2649-2": {
        "title": "Array programming with NumPy",
        "year": 2020,
        "venue": "Nature",
    },
    "10.7717/peerj.453": {
        "title": "scikit-image: image processing in Python",
        "abstract": "scikit-image is an image processing library that implements algorithms and "
        "utilities for use in research, education and industry applications.",
        "year": 2014,
        "venue": "PeerJ",
    },
}


def vectors(dois: Sequence[str], *, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """Unit vectors float32 [n, dimension] of the trigrams in each DOI."""
    counts = np.zeros((len(dois), dimension), dtype=np.float32)
    for row, doi in zip(counts, dois, strict=True):
        for start in range(len(doi) - 2):
            row[crc32(doi[start : start + 3].encode()) % dimension] += 1
    unit: NDArray[np.float32] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


def payload(document: Document, *, sequence: int, job: str = "job-a") -> dict[str, Any]:
    """What a worker stores beside the vector of a record."""
    text_from = "title" if document.title else "doi"
    return points.payload(Record.of(document, sequence), job=job, text_from=text_from)


def revision(document: Document, *, sequence: int = NOW) -> str:
    """That of a record which was given once."""
    return Record.of(document, sequence).revision


def write(documents: Sequence[Document], *, sequence: int = NOW, job: str = "job-a") -> Write:
    """The points of some records."""
    return Write(
        ids=[point_id(document.doi) for document in documents],
        vectors=vectors([document.doi for document in documents]),
        payloads=[payload(document, sequence=sequence, job=job) for document in documents],
    )


def bare(dois: Sequence[str] = DOIS) -> list[Document]:
    """Records without metadata."""
    return [Document(doi=doi) for doi in dois]


def rich() -> list[Document]:
    """Records with the metadata that is known of them."""
    return [Document(doi=doi, **values) for doi, values in METADATA.items()]
