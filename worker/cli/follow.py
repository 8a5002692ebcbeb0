"""Seeing a job through: watch it, and where no server is configured, work it off."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.job import Job, JobState
from schemas.worker import WorkerState
from worker.bootstrap import Client, finish_store
from worker.cli import console, reasons
from worker.cli.produce import Producing
from worker.cli.progress import Bar
from worker.embedded.owner import has_worker, refuse_other_owner
from worker.embedded.process import WorkerProcess
from worker.embedded.server import redis_folder
from worker.errors import Interrupted, SourceError, StoreBusy, WorkerError
from worker.ingest.presence import finishing
from worker.model.registered import unheeded

POLL_S = 0.2
HEARD_S = 2.0
SAY_S = 10.0
OVER = {JobState.SETTLED, JobState.PAUSED, JobState.REJECTED}


class Wait:
    """Says why nothing moves, once that has lasted for so long that a person would ask."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._told_s = SAY_S / 2

    def __call__(self, what: Callable[[], str]) -> None:
        """It has not moved yet."""
        waited_s = time.monotonic() - self._began
        if waited_s > 2 * self._told_s:
            self._told_s = waited_s
            console.err.print(f"for {waited_s:,.0f} s: {what()}")


class Watch:
    """Shows a job's progress, and keeps the embedded worker alive, whenever it is asked to."""

    def __init__(
        self,
        client: Client,
        job: str,
        *,
        bar: Bar,
        worker: WorkerProcess | None = None,
        expected: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._client = client
        self._job = job
        self._bar = bar
        self._worker = worker
        self._expected = expected  # records, by an estimate, while the sources are being read
        self._done = 0
        self._moved = -1
        self._settled = -1
        self._next = 0.0
        self._wait = Wait()

    def look(self) -> Job:
        """The job as it stands; raises `WorkerError` where its worker ends again and again."""
        job, workers = self._show()
        if self._done > self._moved:
            self._moved, self._wait = self._done, Wait()
        self._wait(lambda: f"nothing of job {job.id} moves: {reasons.reason(job, workers)}")
        if self._worker:
            self._worker.check(progressed=job.settled > self._settled)
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

    def until_settled(self) -> Job:
        """The job once it has settled, or paused."""
        while (job := self.look()).state not in OVER:
            time.sleep(POLL_S)
        return job

    def finish(self) -> None:
        """Let the embedded worker finish what it has in hand, the bar going on.

        Interrupted again, end it at once: what it had in hand is done again by the next run.
        """
        if self._worker is None:
            return
        worker = self._worker
        worker.tell_to_stop()
        try:
            self._until_ended(worker)
        except BaseException:
            worker.kill()
            with suppress(WorkerError):  # else its words run out by themselves
                for state in self._mine(worker):
                    self._client.ledger.leave(state.name)
            raise

    def _until_ended(self, worker: WorkerProcess) -> None:
        """Wait, and tell once what is left to do: as soon as the worker has heard that it ends."""
        began, is_told = time.monotonic(), False
        while not worker.has_ended:
            self._show()
            found = self._mine(worker)
            has_heard = any(state.phase == "stopping" for state in found)
            if not is_told and (has_heard or time.monotonic() - began > HEARD_S):
                words = finishing(found[0]) if found else "its worker ends; Ctrl-C again: at once"
                console.err.print(words)
                is_told = True
            time.sleep(POLL_S)

    def _mine(self, worker: WorkerProcess) -> list[WorkerState]:
        workers = self._client.ledger.workers()
        return [state for state in workers if state.pid == worker.pid]

    def _show(self) -> tuple[Job, list[WorkerState]]:
        job = self._client.patience(self._client.ledger.job, self._job)
        workers = self._client.patience(self._client.ledger.workers)
        # A batch that settles just now is in neither count.
        self._done = max(self._done, job.settled + reasons.embedded(job.id, workers))
        is_open = job.state is JobState.OPEN
        expected = self._expected() if is_open else job.accepted
        total = expected and max(expected, job.accepted)
        lost = [f"{count:,} {what}" for count, what in ((job.dead, "dead"),) if count]
        self._bar.show(self._done, total, about=is_open, words=", ".join(lost))
        return job, workers


def ingest(
    client: Client, sources: Producing, *, rejects: Path | None
) -> tuple[Job, SourceError | None]:
    """Queue sources as one job and see it settled; with it, what a source broke off with.

    Raises `WorkerError`.
    """
    refuse_other_owner(client.owner)
    console.print_place(client.settings, is_private=client.is_private)
    sources.begin()
    job = sources.open(client)
    if words := unheeded(client.settings):
        console.say(words, err=True)
    with embedded_worker(client) as worker, Bar(job.source, unit="DOIs") as bar:
        watch = _Owned(client, job.id, bar=bar, worker=worker, expected=sources.expected)
        try:
            failure = sources.queue(client, job, rejects=rejects, watch=watch, is_worked=is_worked)
            settled = watch.until_settled()
        except (KeyboardInterrupt, SystemExit, Interrupted):  # Ctrl-C, SIGTERM
            watch.finish()
            raise
    if worker and not client.settings.qdrant.url:
        with suppress(StoreBusy):  # a search has it open; the next job builds the index
            finish_store(client.settings)
    return settled, failure


class _Owned(Watch):
    """Watches a job that this command, or another process that is known, works off."""

    def look(self) -> Job:
        """As a watch does; raises `WorkerError` where nobody works it off any more."""
        job = super().look()
        if not self._worker and job.state not in OVER and not is_worked(self._client):
            raise WorkerError(
                f"{self._client.owner}, which worked job {job.id} off, has ended; "
                "the same command goes on from here"
            )
        return job


def follow(client: Client, job: Job) -> Job:
    """See a job that was queued settled, whoever works it off; to be interrupted at any time."""
    with Bar(job.source, unit="DOIs") as bar:
        return Watch(client, job.id, bar=bar).until_settled()


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
            with Bar(f"replay of {name}", unit="DOIs") as bar:
                watch = _Owned(client, name, bar=bar, worker=worker)
                try:
                    settled.append(watch.until_settled())
                except (KeyboardInterrupt, SystemExit):
                    watch.finish()
                    raise
    return settled


def is_worked(client: Client) -> bool:
    """Whether somebody works off what is queued; where Redis is not private, that is taken so."""
    return not client.is_private or has_worker(redis_folder(client.settings))


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
