"""What jobs accepted against what the live collection holds, by ids; and queueing again.

Everything is read in pages: batches from the ledger, points from the store.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple, Self

from schemas.document import GIVEN, Document
from schemas.doi import point_id
from schemas.job import Job
from schemas.record import Stamp
from worker.errors import JobClosed, Unanswerable
from worker.ledger.kept import End, KeptBatch
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.store.points import STORED_FIELDS, stored
from worker.store.protocol import Stored, VectorStore
from worker.ticker import Ticker

HOLD_S = 0.1
OCCUPIED = "something else is at its id"
SEEN_FIELDS = ("doi", *STORED_FIELDS)
Payload = Mapping[str, Any]


class Trouble(StrEnum):
    """What is wrong with a DOI or with a point."""

    MISSING = "missing"
    OUTDATED = "outdated"
    FOREIGN_ID = "foreign id"
    UNEXPECTED = "unexpected"


class Finding(NamedTuple):
    """A DOI with its point id, and what is wrong there."""

    doi: str
    id: str
    trouble: Trouble
    words: str


class Tally:
    """What was looked at so far.

    `excused` are records that need not be there: deleted, dead, or looked up and never given.
    """

    def __init__(self) -> None:
        self.batches: Counter[End] = Counter()
        self.records = 0
        self.excused = 0
        self.points = 0
        self.troubles: Counter[Trouble] = Counter()

    @property
    def answer(self) -> dict[str, int]:
        """All of it by name."""
        return {
            "records": self.records,
            "excused": self.excused,
            "points": self.points,
            **{f"batches_{end}": self.batches[end] for end in End},
            **{trouble.replace(" ", "_"): self.troubles[trouble] for trouble in Trouble},
        }


Wanting = Callable[[KeptBatch, Sequence[Document]], None]


class Audit:
    """Compares a ledger with the live collection behind an alias.

    `wanting` hears which records of a batch the collection has not as it should, to queue them
    again. Raises `Unanswerable` where nothing is ingested yet.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: VectorStore,
        *,
        alias: str,
        wanting: Wanting | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._alias = alias
        self._wanting = wanting
        self._live = self._look()
        self.tally = Tally()

    def look(self, job: str | None = None) -> Iterator[list[Finding]]:
        """What is wrong with the records of a job, as far as the ledger has them, in pages.

        Without a job: with those of all jobs, and with all points of the collection.
        """
        for findings in self._of_job(job) if job else self._of_all():
            self.tally.troubles.update(finding.trouble for finding in findings)
            yield findings

    def _of_all(self) -> Iterator[list[Finding]]:
        for page in self._store.scan(self._live, ("doi", "revision", "sequence")):
            self.tally.points += len(page)
            yield list(self._of_points(page))
        for job in self._ledger.every_job():
            yield from self._of_job(job)

    def _of_points(self, page: Sequence[tuple[str, Payload]]) -> Iterator[Finding]:
        buried = self._ledger.buried([i for i, _ in page])
        for i, payload in page:
            doi = str(payload.get("doi", ""))
            if not payload.get("revision"):
                yield Finding(doi, i, Trouble.UNEXPECTED, "doivec did not write it")
            elif point_id(doi) != i:
                yield Finding(doi, i, Trouble.FOREIGN_ID, f"its own is {point_id(doi)}")
            elif i in buried and not _is_since(payload.get("sequence"), buried[i]):
                yield Finding(doi, i, Trouble.UNEXPECTED, "it was deleted after it was given")

    def _of_job(self, job: str) -> Iterator[list[Finding]]:
        for batch in self._ledger.kept(job):
            self.tally.batches[batch.end] += 1
            if batch.end is End.SETTLED:
                self.tally.records += len(batch.documents)
                yield self._of_batch(batch)

    def _of_batch(self, batch: KeptBatch) -> list[Finding]:
        ids = {point_id(document.doi): document for document in batch.documents}
        suspects = self._suspects(ids, batch.sequence)
        if suspects and (live := self._look()) != self._live:  # a model was promoted meanwhile
            self._live = live
            suspects = self._suspects(ids, batch.sequence)
        if not suspects:
            return []
        # After the store was read: what ended in between is not missed then.
        excused = self._excused(batch, suspects)
        found = {i: words for i, words in suspects.items() if i not in excused}
        self.tally.excused += len(suspects) - len(found)
        if found and self._wanting:
            self._make_room([i for i, words in found.items() if words == OCCUPIED])
            self._wanting(batch, [ids[i] for i in found])
        return [_finding(i, ids[i], batch, words) for i, words in found.items()]

    def _make_room(self, ids: Sequence[str]) -> None:
        """Remove records of other DOIs, which a worker would take for what is known of these."""
        there = self._store.payloads(self._live, ids, fields=("revision", "sequence"))
        for i, payload in there.items():
            if payload.get("revision") and isinstance(sequence := payload.get("sequence"), int):
                self._store.delete(self._live, [i], below=sequence + 1)

    def _suspects(self, ids: Mapping[str, Document], sequence: int) -> dict[str, str]:
        """The ids whose points are not as they should be, each with what it has instead."""
        there = self._store.payloads(self._live, list(ids), fields=SEEN_FIELDS)
        known = {i: _known(ids[i], payload) for i, payload in there.items()}
        suspects = dict.fromkeys(ids.keys() - there.keys(), "")
        suspects |= {i: OCCUPIED for i, s in known.items() if s is None}
        behind = {
            i: names
            for i, s in known.items()
            if s and (names := _behind(ids[i], sequence, there=s))
        }
        whole = self._store.payloads(self._live, list(behind)) if behind else {}
        for i, payload in whole.items():
            if lost := [n for n in behind[i] if payload.get(n) != ids[i].metadata[n]]:
                suspects[i] = f"its {' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} older"
        return {i: suspects[i] for i in ids if i in suspects}  # in the order that they were given

    def _excused(self, batch: KeptBatch, suspects: Mapping[str, str]) -> Set[str]:
        """The ids that need not be as they should: deleted since, dead, queued again, never made.

        What was looked up follows a record, and makes none.
        """
        ids = {point_id(d.doi): d for d in batch.documents}
        dois = [ids[i].doi for i in suspects]
        buried = self._ledger.buried(list(suspects))
        ended = self._ledger.dead_among(batch.sequence, dois) | self._ledger.again(batch)
        return {
            i
            for i, words in suspects.items()
            if ids[i].doi in ended
            or buried.get(i, 0) > batch.sequence
            or (not words and ids[i].source != GIVEN)
        }

    def _look(self) -> str:
        live = self._store.live(self._alias)
        if live is None:
            raise Unanswerable(f"nothing is ingested yet: there is no alias {self._alias!r}")
        return live


def _is_since(sequence: object, tombstone: int) -> bool:
    return isinstance(sequence, int) and sequence >= tombstone


def _known(document: Document, payload: Payload) -> Stored | None:
    """What a point says of its record; None where doivec didn't write it for this DOI."""
    with suppress(KeyError, TypeError, ValueError, AttributeError):  # written by who knows whom
        if payload.get("doi") == document.doi and payload.get("revision"):
            return stored(payload)
    return None


def _behind(document: Document, sequence: int, *, there: Stored) -> list[str]:
    """The fields of a document whose place in a record is older than the document."""
    if there.deleted > sequence or there.content_hash == document.content_hash:
        return []
    if document.source != GIVEN and _may_be_younger(there, sequence):
        return []  # what was looked up makes no record: there may have been none then
    return [
        name
        for name in document.metadata
        if name not in there.stamps
        or there.stamps[name].rank < Stamp(sequence, document.source_of(name)).rank
    ]


def _may_be_younger(there: Stored, sequence: int) -> bool:
    """Whether nothing of a record is from before `sequence`."""
    return there.sequence > sequence and all(s.sequence > sequence for s in there.stamps.values())


def _finding(i: str, document: Document, batch: KeptBatch, words: str) -> Finding:
    trouble = Trouble.OUTDATED if words.endswith("older") else Trouble.MISSING
    whose = f"job {batch.job}, batch {batch.number}"
    return Finding(document.doi, i, trouble, f"{words}; {whose}" if words else whose)


class Repair:
    """Queues records again as a job, each under the sequence it was accepted with.

    So they are merged with what came later as they would have been, and what was deleted since
    stays deleted. Holds while `most` batches are outstanding, without it never. As a context it
    ends the job, which then settles.
    """

    def __init__(
        self,
        ledger: Ledger,
        begin: Callable[[], Job],
        *,
        send: Callable[[str, int], None],
        patience: Patience,
        most: int | None,
        beat_s: float,
    ) -> None:
        self._ledger = ledger
        self._send = send
        self._patience = patience
        self._most = most
        self._begin = begin
        self._heart = Ticker("repair", self._beat, pause_s=beat_s)
        self._batches = 0
        self.job: Job | None = None  # there is one as soon as something is wanting

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._heart.stop()
        if self.job:
            self._patience(self._ledger.seal, self.job.id, self._batches, repeated=0, invalid=0)

    def __call__(self, batch: KeptBatch, documents: Sequence[Document]) -> None:
        """Queue these records of a batch again; raises `JobClosed` where the job was ended."""
        self.job = self.job or self._begin()
        job, number = self.job.id, self._batches
        taken = self._patience(self._ledger.accept, job, number, documents, sequence=batch.sequence)
        if taken.verdict not in {"accepted", "known"}:
            raise JobClosed(f"job {job} is {taken.verdict}; run the command again")
        self._batches = number + 1
        self._patience(self._send, job, number)
        waiting = taken.outstanding
        while self._most is not None and waiting >= self._most:
            time.sleep(HOLD_S)
            waiting = self._patience(self._ledger.outstanding)

    def _beat(self) -> None:
        if self.job:
            self._ledger.produce(self.job.id)
