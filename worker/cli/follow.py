"""Seeing a job through: produce it, watch it, and where no server is configured, work it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from schemas.document import Document
from schemas.job import Job, JobState, Rejection
from worker.bootstrap import Client, finish_store
from worker.cli import console
from worker.embedded.owner import has_worker, refuse_other_owner
from worker.embedded.process import WorkerProcess
from worker.embedded.server import redis_folder
from worker.errors import SourceError, StoreBusy, WorkerError
from worker.ingest.producer import Hooks
from worker.model.registered import unheeded
from worker.sources.options import SourceOptions
from worker.sources.records import DEFAULT, identity, read
from worker.sources.report import Report
from worker.sources.streams import STANDARD_INPUT, source_name

POLL_S = 0.2
SAY_S = 10.0


class Wait:
    """Says what is waited for, once it has lasted for so long that a person would ask."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told_s = SAY_S / 2

    def __call__(self, what: Callable[[], str]) -> None:
        """It has not come yet."""
        waited_s = time.monotonic() - self._began
        if waited_s > 2 * self._told_s:
            self._told_s = waited_s
            console.err.print(f"for {waited_s:,.0f} s: {what()}", markup=False)


class Watch:
    """Shows a job's progress, and keeps the embedded worker alive, whenever it is asked to."""

    def __init__(
        self, client: Client, job: str, *, bar: console.JobProgress, worker: WorkerProcess | None
    ) -> None:
        self._client = client
        self._job = job
        self._bar = bar
        self._worker = worker
        self._settled = -1
        self._next = 0.0
        self._wait = Wait()

    def look(self) -> Job:
        """The job as it stands; raises `WorkerError` where nobody works it off any more."""
        job = self._client.patience(self._client.ledger.job, self._job)
        self._bar.show(job)
        progressed = job.settled > self._settled
        if progressed:
            self._wait = Wait()
        self._wait(lambda: f"nothing of job {job.id} has settled; {self._reason()}")
        if self._worker:
            self._worker.check(progressed=progressed)
        elif job.state is not JobState.SETTLED and not is_worked(self._client):
            raise WorkerError(
                f"{self._client.owner}, which worked job {job.id} off, has ended; "
                "the same command goes on from here"
            )
        self._settled = job.settled
        return job

    def glance(self, _: object = None) -> None:
        """Look, unless that was just done."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + POLL_S
            self.look()

    def wait(self, pause_s: float) -> None:
        """Pass the time while a producer holds."""
        time.sleep(pause_s)
        self.glance()

    def _reason(self) -> str:
        if self._worker:
            return f"its worker says: {self._worker.says()}"
        return "the log of a `doi-worker run` says why, if one is running"

    def until_settled(self) -> Job:
        """The job once it has settled, or paused."""
        while (job := self.look()).state not in {JobState.SETTLED, JobState.PAUSED}:
            time.sleep(POLL_S)
        return job


def ingest(
    client: Client,
    names: Sequence[str],
    *,
    rejects: Path | None,
    options: SourceOptions = DEFAULT,
) -> tuple[Job, SourceError | None]:
    """Queue sources as one job and see it settled; with it, what a source broke off with.

    Raises `WorkerError`.
    """
    refuse_other_owner(client.owner)
    job = open_job(client, names, options)
    if words := unheeded(client.settings):
        console.say(words, err=True)
    with embedded_worker(client) as worker, console.JobProgress(job.source) as bar:
        watch = Watch(client, job.id, bar=bar, worker=worker)
        failure = queue(client, job, names, rejects=rejects, options=options, watch=watch)
        settled = watch.until_settled()
    if worker and not client.settings.qdrant.url:
        with suppress(StoreBusy):  # a search has it open; the next job builds the index
            finish_store(client.settings)
    return settled, failure


def replay(client: Client, jobs: Sequence[str]) -> list[Job]:
    """See jobs whose dead letters were queued again settled, where this command works them.

    Where other workers do, the jobs are given back as they stand.
    """
    served = client.settings.qdrant.url and not client.is_private
    if not jobs or served or client.owner:
        return [client.ledger.job(name) for name in jobs]
    settled = []
    with embedded_worker(client) as worker:
        for name in jobs:
            with console.JobProgress(f"replay of {name}") as bar:
                settled.append(Watch(client, name, bar=bar, worker=worker).until_settled())
    return settled


def open_job(client: Client, names: Sequence[str], options: SourceOptions = DEFAULT) -> Job:
    """Open a job for sources, or the one that was left open for them as they are; says where."""
    label = ", ".join(source_name(name) for name in names)
    job = client.producer.open(source=label, identity=identity(names, options))
    console.print_place(client.settings, is_private=client.is_private)
    return job


def queue(
    client: Client,
    job: Job,
    names: Sequence[str],
    *,
    rejects: Path | None,
    options: SourceOptions = DEFAULT,
    watch: Watch | None = None,
) -> SourceError | None:
    """Take sources into a job; gives back what one broke off with.

    What is rejected goes to the file `rejects`, a JSON line each.
    """
    limits, report = client.settings.limits, Report()
    with rejects.open("w", encoding="utf-8") if rejects else nullcontext() as file:
        hooks = Hooks(
            rejected=_writer(file),
            accepted=watch.glance if watch else lambda _: None,
            wait=watch.wait if watch else _hold(job),
            bounded=lambda: is_worked(client),
        )

        def records() -> Iterator[Document | Rejection]:
            report.clear()
            failures = []  # each costs its own source alone
            for name in names:
                try:
                    yield from read(name, limits=limits, options=options, report=report)
                except SourceError as error:
                    failures.append(str(error))
            if failures:
                raise SourceError("; ".join(failures))

        try:
            client.producer.fill(job, records, hooks=hooks, report=report)
        except SourceError as error:
            return error
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM
            if STANDARD_INPUT in names:
                raise _cancelled(client, job) from None
            raise
        return None


def _cancelled(client: Client, job: Job) -> WorkerError:
    """Give up a job that can't be produced again; what workers have in hand still settles."""
    count = client.ledger.cancel(job.id)
    return WorkerError(
        f"interrupted; standard input can't be read again, so the {count:,} records of job "
        f"{job.id} that no worker had taken are cancelled"
    )


def is_worked(client: Client) -> bool:
    """Whether somebody works off what is queued; where Redis is not private, that is taken so."""
    return not client.is_private or has_worker(redis_folder(client.settings))


def _hold(job: Job) -> Callable[[float], None]:
    """Pass the time while a producer holds that nobody watches."""
    said = Wait()

    def wait(pause_s: float) -> None:
        said(lambda: f"job {job.id} holds until workers have settled some of what is queued")
        time.sleep(pause_s)

    return wait


@contextmanager
def embedded_worker(client: Client) -> Iterator[WorkerProcess | None]:
    """A worker for as long as the context is open; none where others do the work."""
    settings = client.settings
    if client.owner or (settings.qdrant.url and not client.is_private):
        yield None
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    worker = WorkerProcess(settings, settings.redis, log=settings.data_dir / "worker.log")
    try:
        yield worker
    finally:
        worker.stop()


def _writer(file: IO[str] | None) -> Callable[[Rejection], None]:
    def write(rejection: Rejection) -> None:
        if file:
            file.write(json.dumps(rejection._asdict(), ensure_ascii=False) + "\n")

    return write
