"""How things stand, in lines of which no id is cut: servers, workers, jobs."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from rich.live import Live
from rich.text import Text

from schemas.job import Job, JobState
from schemas.worker import WorkerState
from worker import bootstrap
from worker.cli import console
from worker.cli.progress import span
from worker.cli.reasons import embedded
from worker.errors import LedgerUnavailable, ModelError, WorkerError
from worker.model.registry import Registry
from worker.settings.environment import Settings
from worker.store.names import version_in
from worker.store.opening import open_store

WATCH_S, LINES_S = 2.0, 30.0
LOOK_S = 5.0
SHORTEST_SOURCE = 12
INDENT = " " * 4


class Held(NamedTuple):
    """What the store has: the live collection and its points, or why that isn't known."""

    collection: str | None = None
    points: int | None = None
    trouble: str = ""


def watch(client: bootstrap.Client, job: str | None) -> None:
    """Show how things stand, or how a job does, again and again until interrupted."""
    with suppress(KeyboardInterrupt):
        if not console.out.is_terminal:
            while True:
                console.out.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
                for line in _now(client, job):
                    console.out.print(line)
                time.sleep(LINES_S)
        with Live(console=console.out, auto_refresh=False, screen=True) as screen:
            while True:
                words = console.visible_lines(_now(client, job))
                screen.update(Text(words, no_wrap=False), refresh=True)
                time.sleep(WATCH_S)


def _now(client: bootstrap.Client, job: str | None) -> list[str]:
    try:
        if job is None:
            return list(lines(client))
        workers = client.ledger.workers()
        return list(
            of_jobs(
                [client.ledger.job(job)],
                workers,
                now_s=client.ledger.now_s(),
                width=console.out.width,
            )
        )
    except LedgerUnavailable as error:
        return [str(error)]


def lines(client: bootstrap.Client) -> Iterator[str]:
    """All that there is to say, a line each."""
    workers = client.ledger.workers()
    yield from _of_servers(client, workers)
    backlog = client.ledger.backlog([])
    oldest = f", the oldest for {span(backlog.oldest_s)}" if backlog.outstanding else ""
    parts = [f"{backlog.outstanding:,} batches outstanding{oldest}"]
    parts += [f"{backlog.backfill:,} of backfills"] if backlog.backfill else []
    parts += [f"{backlog.parked:,} of paused jobs"] if backlog.parked else []
    parts += [f"{backlog.dead:,} dead letters"] if backlog.dead else []
    yield _named("work", "; ".join(parts))
    yield from _of_workers(workers, silent_s=client.settings.ingest.lease_s / 2)
    yield ""
    yield from _of_jobs(client, client.ledger.jobs(), workers)
    if candidate := client.ledger.route().candidate:
        yield (
            f"workers write to {candidate} too: its promotion is under way, or was cut off "
            "(the same command goes on; `doi-trainer promote` of the live version gives it up)"
        )


def _of_servers(client: bootstrap.Client, workers: Sequence[WorkerState]) -> Iterator[str]:
    redis, store = console.places(client.settings, is_private=client.is_private)
    yield _named("Redis", redis)
    held = _held(client, workers)
    yield _named("Qdrant", store + (f": {held.trouble}" if held.trouble else ""))
    if held.collection:
        points = "points not known" if held.points is None else f"{held.points:,} points"
        yield _named("collection", f"{held.collection}, {points}")
        yield _named("model", _model(client.settings, held.collection))
    elif not held.trouble:
        yield _named("collection", f"none yet behind the alias {client.settings.collection!r}")


def _held(client: bootstrap.Client, workers: Sequence[WorkerState]) -> Held:
    seen = next((w for w in workers if w.points is not None), None)
    is_here = client.settings.qdrant.url is None
    if is_here and seen:
        return Held(seen.collection, seen.points)  # the worker has the store
    try:
        return Held(*_asked(client.settings))
    except WorkerError as error:
        return Held(trouble=str(error))


def _asked(settings: Settings) -> tuple[str | None, int | None]:
    """The live collection of the settings and about how many points it has, asked of the store.

    Raises `StoreBusy`, `StoreUnavailable`, `ConfigurationError`.
    """
    brief = settings.qdrant.model_copy(update={"timeout_s": min(LOOK_S, settings.qdrant.timeout_s)})
    with closing(open_store(brief, data_dir=settings.data_dir)) as store:
        live = store.live(settings.collection)
        return live, store.count(live, exact=False) if live else None


def _model(settings: Settings, collection: str) -> str:
    """What is known here of the model of a collection, in words."""
    version = version_in(settings.collection, collection)
    try:
        manifest = Registry(settings.data_dir / "models").look(version)[1]
    except ModelError:
        return f"{version}, which is not in the registry of this machine"
    return f"{version}, of {manifest.name}, reads {', '.join(manifest.templates)}"


def _of_workers(workers: Sequence[WorkerState], *, silent_s: float) -> Iterator[str]:
    if not workers:
        yield _named("workers", "none alive; `doi-worker run` is one")
    for worker in workers:
        parts = [worker.name]
        parts += [worker.phase] if worker.phase != "working" else []
        parts += [f"silent for {span(worker.silent_s)}"] if worker.silent_s > silent_s else []
        parts += [f"{len(worker.in_hand)} in hand"]
        parts += [f"{worker.records_per_s:,.0f} records/s"] if worker.records_per_s else []
        yield _named("worker", ", ".join(parts))
        if words := worker.trouble or worker.waiting:
            yield f"{INDENT}{'unhealthy' if worker.trouble else 'waits'}: {words}"
        for batch in worker.in_hand:
            yield (
                f"{INDENT}{batch.job}:{batch.number}  {batch.embedded:,} of {batch.records:,} "
                f"embedded, for {span(batch.for_s)}"
            )


def _of_jobs(
    client: bootstrap.Client, jobs: Sequence[Job], workers: Sequence[WorkerState]
) -> Iterator[str]:
    return of_jobs(jobs, workers, now_s=client.ledger.now_s(), width=console.out.width)


def of_jobs(
    jobs: Sequence[Job], workers: Sequence[WorkerState], *, now_s: float, width: int
) -> Iterator[str]:
    """A line for each job, and below it what was lost of it; ids are whole at any width."""
    if not jobs:
        yield "no jobs"
        return
    longest = max(len(job.id) for job in jobs)
    for job in jobs:
        begin = f"{job.id:<{longest}}  {_figures(job, workers, now_s)}"
        room = width - len(begin) - 2
        if room >= SHORTEST_SOURCE or len(job.source) <= room:
            yield f"{begin}  {console.shortened(job.source, room)}"
        else:
            yield begin
            yield INDENT + console.shortened(job.source, width - len(INDENT))
        if words := "; ".join(filter(None, (_lost(job), job.note))):
            yield INDENT + words


def _lost(job: Job) -> str:
    counts = {
        "dead": job.dead,
        "invalid": job.invalid,
        "without a DOI": job.without_doi,
        "cancelled": job.cancelled,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _figures(job: Job, workers: Sequence[WorkerState], now_s: float) -> str:
    """State, age, share done, records done, and the rate."""
    done = job.settled + embedded(job.id, workers)
    is_open = job.state is JobState.OPEN
    share = "" if is_open or not job.accepted else f"{100 * done // job.accepted} %"
    age = span(max(0.0, now_s - job.created_at.timestamp()))
    end = job.settled_at or job.moved_at
    over_s = (end - job.began_at).total_seconds() if end and job.began_at else 0.0
    rate = f"{job.settled / over_s:,.0f}/s" if over_s > 0 and job.settled else ""
    return f"{job.state:<8} {age:>10} {share:>5} {done:>7,} {rate:>7}"


def _named(name: str, words: str) -> str:
    return f"{name:<10} {words}"
