"""From a source to batches in the ledger and messages in the queue, bounded."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import uuid4

from schemas.document import Document
from schemas.job import NO_DOI, Job, JobState, Rejection
from worker.errors import JobCancelled, JobClosed, JobPaused, LedgerUnavailable, SourceError
from worker.ingest.cut import Cut, Seen, cut
from worker.ledger.ledger import SAMPLE_REJECTIONS, Acceptance, Ledger
from worker.patience import Patience
from worker.settings.ingest import IngestSettings, LimitSettings
from worker.sources.fields import given as document_of
from worker.sources.parsing import attempt, told
from worker.sources.report import Report
from worker.ticker import Ticker

PASSES = 3
GIVEN = "given"  # what another program's list is called as a source
Records = Callable[[], Iterable[Document | Rejection]]
Send = Callable[[str, int], None]
Supplement = Callable[[Mapping[str, Document]], Mapping[str, Document]]


class Hooks(NamedTuple):
    """What a caller is told while a job is produced."""

    rejected: Callable[[Rejection], None] = lambda _: None
    accepted: Callable[[int], None] = lambda _: None
    wait: Callable[[float], None] = time.sleep
    bounded: Callable[[], bool] = lambda: True  # whether somebody works off what is outstanding


class Tally:
    """What was read so far, and the error that ended a source early."""

    def __init__(self) -> None:
        self.accepted = 0
        self.repeated = 0
        self.invalid = 0
        self.without_doi = 0
        self.samples: list[Rejection] = []
        self.error: SourceError | None = None

    def repeat(self) -> None:
        """Count a record that says nothing new, or was merged with the one before it."""
        self.repeated += 1

    def reject(self, rejection: Rejection) -> None:
        """Count a rejection, and of the invalid ones keep the first few."""
        if rejection.reason == NO_DOI:
            self.without_doi += 1
            return
        self.invalid += 1
        if len(self.samples) < SAMPLE_REJECTIONS:
            self.samples.append(rejection)


class Producer:
    """Cuts records into batches, takes them into the ledger, and sends their claim checks.

    `supplement` adds to the documents of a batch, by DOI, what else is known of them.
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Send,
        *,
        options: IngestSettings,
        limits: LimitSettings,
        patience: Patience,
        supplement: Supplement = lambda documents: documents,
    ) -> None:
        self._ledger = ledger
        self._supplement = supplement
        self._patience = patience
        self.send = send
        self._options = options
        self._batch_records = min(options.batch_records, limits.batch_records)
        self._limits = limits
        self._beat_s = options.lease_s

    def open(
        self,
        *,
        source: str,
        job: str | None = None,
        identity: str | None = None,
        digest: str | None = None,
    ) -> Job:
        """Open a job, or the one that was left open under this identity.

        `identity` says that the source will give the same records again, so that the job can
        be resumed (see `worker.sources.records.identity`); `digest` tells what the job holds.
        Raises `JobConflict` where the job of this name holds another list.
        """
        return self._ledger.open(
            job or uuid4().hex[:12],
            identity=identity,
            source=source,
            batch_records=self._batch_records,
            digest=digest,
        )

    def fill(
        self,
        job: Job,
        records: Records,
        *,
        hooks: Hooks | None = None,
        report: Report | None = None,
        bounded: bool = True,
    ) -> None:
        """Take all records into an open job and seal it.

        `records` gives the same records in the same order each time it is called: batches that
        the ledger has are not taken twice, and those that Redis lost are taken again. With
        `bounded`, holds while more batches are outstanding than the settings allow.

        What `report` tells of their sources when they have been read is the job's `reading`.

        A source that breaks off leaves a sealed job of what came before, and its `SourceError`
        is raised. Raises `JobCancelled` and `LedgerUnavailable` besides.
        """
        for _ in range(PASSES):
            tally = Tally()
            try:
                batches = self._accept_all(
                    job, records(), tally, hooks=hooks or Hooks(), bounded=bounded
                )
            except JobCancelled:
                self._seal(job, 0, tally, report)  # it is: this notes what was read
                raise
            if self._seal(job, batches, tally, report):
                break
            # Redis lost batches it had acknowledged (a crash under appendfsync everysec).
        else:
            raise LedgerUnavailable(f"Redis lost batches of job {job.id}; run the command again")
        if tally.error:
            raise tally.error

    def enqueue(self, dois: Iterable[str | Mapping[str, Any]], *, job: str | None = None) -> str:
        """Queue DOIs, or mappings with a `doi` and metadata, as one job; returns its id.

        Repeated under the same `job`, it is the same job; another list under its name raises
        `JobConflict`. Raises `LedgerUnavailable` besides.
        """
        # What another program sent may be no list at all: then it is one record, good or bad.
        is_list = isinstance(dois, Iterable) and not isinstance(dois, str | Mapping)
        given: list[Any] = list(dois) if is_list else [dois]
        opened = self.open(source=f"{len(given)} given", job=job, digest=digest_of(given))
        report = Report()
        self.fill(opened, lambda: self._documents(given, report), report=report, bounded=False)
        return opened.id

    def _documents(
        self, given: Iterable[str | Mapping[str, Any]], report: Report
    ) -> Iterator[Document | Rejection]:
        report.clear()
        for line, raw in enumerate(given, start=1):
            try:
                found = attempt(document_of, raw, limits=self._limits)
            except ValueError as error:
                yield Rejection(GIVEN, line, told(raw), str(error))
            else:
                report.drop(GIVEN, line, found.dropped)
                yield found.document

    def _accept_all(
        self,
        job: Job,
        records: Iterable[Document | Rejection],
        tally: Tally,
        *,
        hooks: Hooks,
        bounded: bool,
    ) -> int:
        number = 0
        with closing(Seen()) as seen, self._alive(job):
            given = _given(records, tally, rejected=hooks.rejected)
            for batch in cut(given, seen=seen, size=job.batch_records, repeated=tally.repeat):
                acceptance = self._accept(job.id, number, batch)
                tally.accepted += len(batch.documents)
                hooks.accepted(tally.accepted)
                number += 1
                if bounded:
                    self._hold(job, acceptance.outstanding, hooks=hooks)
        return number

    @contextmanager
    def _alive(self, job: Job) -> Iterator[None]:
        """Let the ledger know that the job's producer is there, however slow its source is."""
        heart = Ticker("producer", lambda: self._ledger.produce(job.id), pause_s=self._beat_s)
        heart.start()
        try:
            yield
        finally:
            heart.stop()

    def _seal(self, job: Job, batches: int, tally: Tally, report: Report | None) -> bool:
        self._patience(self._ledger.note_rejections, job.id, tally.samples)
        return self._patience(
            self._ledger.seal,
            *(job.id, batches),
            repeated=tally.repeated,
            invalid=tally.invalid,
            without_doi=tally.without_doi,
            reading=report.reading if report else None,
        )

    def _accept(self, job: str, number: int, batch: Cut) -> Acceptance:
        # Only now: how records are cut must not depend on what is known of them today.
        documents = self._supplement(batch.documents)
        acceptance = self._patience(
            self._ledger.accept, job, number, list(documents.values()), again=batch.again
        )
        if acceptance.verdict == "cancelled":
            raise JobCancelled(f"job {job} was cancelled")
        if acceptance.verdict == "unknown":
            raise LedgerUnavailable(f"Redis lost job {job}; run the command again")
        if acceptance.verdict == "closed":
            raise JobClosed(
                f"job {job} was sealed without this part of its source; run the command again"
            )
        if acceptance.verdict == "accepted":
            self._patience(self.send, job, number)
        return acceptance

    def _hold(self, job: Job, outstanding: int, *, hooks: Hooks) -> None:
        while outstanding >= self._options.outstanding_batches and hooks.bounded():
            hooks.wait(0.1)
            now = self._patience(self._ledger.job, job.id)
            if now.state is JobState.PAUSED:
                raise JobPaused(f"job {job.id} is paused: {now.note}")
            outstanding = self._patience(self._ledger.outstanding)


def digest_of(given: Sequence[Any]) -> str:
    """The SHA-256 (hexadecimal) of a list of records, each as a line of JSON."""
    found = sha256()
    for row in given:
        found.update(_line(row).encode(errors="surrogatepass") + b"\n")
    return found.hexdigest()


def _line(row: Any) -> str:
    try:
        return json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError):  # what nobody can write down is rejected anyhow
        return f"({type(row).__name__})"


def _given(
    records: Iterable[Document | Rejection], tally: Tally, *, rejected: Callable[[Rejection], None]
) -> Iterator[Document]:
    try:
        for record in records:
            if isinstance(record, Rejection):
                tally.reject(record)
                rejected(record)
            else:
                yield record
    except SourceError as error:
        tally.error = error
