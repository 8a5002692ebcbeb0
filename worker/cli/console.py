"""What a person sees: progress, summaries, tables."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from schemas.job import DeadLetter, Job, JobState, Rejection, State
from schemas.search import Hit
from worker.addresses import shown
from worker.settings import Settings

SHOWN_REJECTIONS = 5
SHOWN_CHARACTERS = 60

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


class JobProgress:
    """A bar on standard error: records settled, of those known so far, rate and time left."""

    def __init__(self, label: str) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=err,
        )
        self._task = self._progress.add_task(label, total=None, rate="")

    def __enter__(self) -> "JobProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, job: Job) -> None:
        """Show where a job stands; how many records it has is known once it is sealed."""
        total = job.accepted if job.state is not JobState.OPEN else None
        self._progress.update(self._task, completed=job.settled, total=total)
        speed = self._progress.tasks[0].speed
        self._progress.update(self._task, rate=f"{speed:,.0f} DOIs/s" if speed else "starting")


def print_place(settings: Settings, *, is_private: bool) -> None:
    """Where a command works, on standard error: servers without their secrets, or a folder."""
    redis, qdrant = settings.redis.url, settings.qdrant.url
    folder = settings.data_dir.absolute()
    if folder.is_relative_to(Path.home()):
        folder = "~" / folder.relative_to(Path.home())
    ledger = f"a private Redis in {folder}"
    if redis and not is_private:
        ledger = shown(redis.get_secret_value())
    elif not qdrant:
        err.print(f"Qdrant Edge in {folder}", markup=False)
        return
    err.print(f"{ledger}, {shown(qdrant) if qdrant else f'Qdrant Edge in {folder}'}", markup=False)


def print_summary(job: Job) -> None:
    """The counts of a job, on standard output."""
    seconds = (job.settled_at - job.created_at).total_seconds() if job.settled_at else 0.0
    rate = f", {job.accepted / seconds:,.0f} DOIs/s" if seconds and job.stored else ""
    out.print(f"job {job.id} {job.state} ({job.source}) in {seconds:,.1f} s{rate}")
    out.print(
        f"  read {job.read:,} = accepted {job.accepted:,} + repeated {job.repeated:,}"
        f" + invalid {job.invalid:,}"
    )
    states = ", ".join(f"{state} {getattr(job, state):,}" for state in State)
    out.print(f"  accepted {job.accepted:,} = {states}")
    if job.accepted and job.unchanged == job.accepted:
        out.print(f"  all {job.accepted:,} were there already")
    if job.note:
        out.print(f"  {job.note}")


def print_rejections(rejections: Iterable[Rejection], total: int) -> None:
    """The first few rejected lines, on standard error."""
    shown = list(rejections)[:SHOWN_REJECTIONS]
    for r in shown:
        raw = r.raw if len(r.raw) <= SHOWN_CHARACTERS else r.raw[:SHOWN_CHARACTERS] + "…"
        err.print(f"{r.source}:{r.line}: {r.reason}: {raw!r}", markup=False)
    if total > len(shown):
        err.print(f"… and {total - len(shown):,} more rejected (--rejects FILE keeps them all)")


def print_jobs(jobs: Iterable[Job], *, outstanding: int, candidate: str | None) -> None:
    """A table of jobs, newest first, and what else workers are at."""
    table = Table("job", "state", "source", "accepted", "settled", "dead", "invalid", "note")
    for job in jobs:
        counts = (f"{n:,}" for n in (job.accepted, job.settled, job.dead, job.invalid))
        table.add_row(job.id, job.state, job.source, *counts, job.note)
    out.print(table)
    out.print(f"{outstanding:,} batches outstanding")
    if candidate:
        out.print(
            f"workers write to {candidate} too: its promotion is under way, or was cut off "
            "(the same command goes on; `doi-trainer promote` of the live version gives it up)"
        )


def print_dead(letters: Iterable[DeadLetter]) -> int:
    """A line for each dead letter; returns how many there were."""
    count = 0
    for letter in letters:
        line = f"{letter.job}  {letter.document.doi}  {letter.stage}: {letter.reason}"
        out.print(line, markup=False)
        count += 1
    return count


def print_hits(hits: Iterable[Hit]) -> None:
    """A line for each hit, best first: its cosine, its DOI, its title where known."""
    for hit in hits:
        title = hit.metadata.get("title", "")
        out.print(f"{hit.score:.4f}  {hit.doi}  {title}".rstrip(), markup=False)
