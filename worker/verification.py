"""Stored vectors and payloads against what the collection's own model makes of them now."""

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.model import render, text_from
from worker.model.embedder import LOWEST_CANARY_COSINE, UNIT_TOLERANCE
from worker.model.loaded import Target
from worker.store.points import TEXT_FROM, chunks, payload, record
from worker.store.protocol import VectorStore

POINTS_A_PAGE = 256  # of 1 MiB at the most, and all in memory at once
# Half precision moves a vector by less than 0.0005; another text's is further away than this.
FOREIGN_COSINE = 0.95
Vector = NDArray[np.float32]
Point = tuple[Mapping[str, Any], Vector]


class Fault(StrEnum):
    """What is wrong with a point."""

    DRIFT = "drift"
    FOREIGN_VECTOR = "foreign vector"
    LENGTH = "not unit length"
    PAYLOAD = "changed payload"
    TEXT_FROM = "wrong text_from"
    FOREIGN_POINT = "foreign point"


class Finding(NamedTuple):
    """A point and what is wrong with it."""

    doi: str
    id: str
    fault: Fault
    words: str


def drawn(ids: Iterable[str], count: int, *, seed: int | None = None) -> list[str]:
    """So many of the ids, each as likely as any other; only these are held in memory."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    return heapq.nsmallest(count, ids, key=lambda _: draw.random())


class Verification:
    """Recomputes points of a collection with its model; `looked_at` and `faulty` count them."""

    def __init__(self, store: VectorStore, target: Target) -> None:
        self._store = store
        self._target = target
        self.points = store.count(target.collection)
        self.looked_at = 0
        self.faulty = 0
        self.lowest = 1.0  # of all cosines, between stored and recomputed
        self.faults: Counter[Fault] = Counter(dict.fromkeys(Fault, 0))

    def sample(self, count: int, *, seed: int | None = None) -> Iterator[list[Finding]]:
        """What is wrong with so many points, in pages; each is as likely to be among them.

        Reads the ids of all points once, and keeps only those that it has drawn.
        """
        yield from self._of(drawn(self._store.ids(self._target.collection), count, seed=seed))

    def all(self) -> Iterator[list[Finding]]:
        """What is wrong with any point, in pages."""
        for page in self._store.scan(self._target.collection, ()):
            yield from self._of([i for i, _ in page])

    @property
    def at_most(self) -> float:
        """The share of points that may be faulty where none was, with 95 % confidence.

        By the rule of three (Hanley & Lippman-Hand, JAMA 1983): 3/n; 0 where all were looked at.
        """
        if self.looked_at >= self.points:
            return 0.0
        return min(1.0, 3 / self.looked_at) if self.looked_at else 1.0

    def _of(self, ids: list[str]) -> Iterator[list[Finding]]:
        for chunk in chunks(ids, POINTS_A_PAGE):
            there = self._store.points(self._target.collection, chunk)
            found = list(self._of_points(there))
            self.looked_at += len(there)
            self.faulty += len({finding.id for finding in found})
            self.faults.update(finding.fault for finding in found)
            yield found

    def _of_points(self, there: Mapping[str, Point]) -> Iterator[Finding]:
        known = dict[str, Document]()
        for i, (told, vector) in there.items():
            doi = str(told.get("doi", ""))
            yield from (Finding(doi, i, *fault) for fault in _of_vector(vector))
            made = _made(told, self._target.templates)
            if made is None or point_id(made[0].doi) != i:
                whose = "its id is another DOI's" if made else "doivec did not write it"
                yield Finding(doi, i, Fault.FOREIGN_POINT, whose)
                continue
            known[i] = made[0]
            yield from (Finding(doi, i, *fault) for fault in _of_payload(told, made[1]))
        yield from self._of_texts(known, {i: there[i][1] for i in known})

    def _of_texts(
        self, known: Mapping[str, Document], stored: Mapping[str, Vector]
    ) -> Iterator[Finding]:
        rendered = {i: render(document, self._target.templates) for i, document in known.items()}
        texts = {i: text for i, text in rendered.items() if text is not None}
        vectors = self._target.encoder.encode(list(texts.values()))
        for i, vector in zip(texts, vectors, strict=True):
            cosine = _cosine(stored[i], vector)
            self.lowest = min(self.lowest, cosine)
            if not cosine >= LOWEST_CANARY_COSINE:
                is_near = cosine >= FOREIGN_COSINE
                fault = Fault.DRIFT if is_near else Fault.FOREIGN_VECTOR
                words = f"cosine {cosine:.6f} to what the model makes of it now"
                yield Finding(known[i].doi, i, fault, words)


def _of_vector(vector: Vector) -> Iterator[tuple[Fault, str]]:
    length = float(np.linalg.norm(vector))
    if not abs(length - 1) <= UNIT_TOLERANCE:
        yield Fault.LENGTH, f"its length is {length:.6f}"


def _made(
    told: Mapping[str, Any], templates: Sequence[str]
) -> tuple[Document, dict[str, Any]] | None:
    """The document of a payload, and what would be written for it; None of one that is no record's.

    Another program may have written anything there.
    """
    with suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
        if there := record(told):
            made_of = text_from(there.document, templates) or ""
            written = payload(there, job=str(told.get("job", "")), text_from=made_of)
            return there.document, written
    return None


def _of_payload(told: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[tuple[Fault, str]]:
    """Where a payload is not what its record makes; fields of other programs are theirs."""
    if told.get(TEXT_FROM) != written[TEXT_FROM]:
        reads = written[TEXT_FROM] or "nothing"
        yield Fault.TEXT_FROM, f"it says {told.get(TEXT_FROM)!r}, and the model reads {reads!r}"
    names = {*written, *METADATA_FIELDS} - {TEXT_FROM}
    if changed := sorted(n for n in names if told.get(n) != written.get(n)):
        yield Fault.PAYLOAD, f"its {', '.join(changed)} is not what was written"


def _cosine(first: Vector, second: Vector) -> float:
    if first.shape != second.shape or not np.linalg.norm(first):
        return 0.0
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
