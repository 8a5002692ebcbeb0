"""The work: is somebody at it, does it move, are messages carried as they must be."""

from collections.abc import Mapping
from typing import Any

from schemas.job import JobState
from worker.app import QUEUES, VISIBILITY_TIMEOUT_S
from worker.doctor.findings import Findings, doubtful, fine, wrong
from worker.ledger.ledger import Ledger
from worker.settings.environment import Settings

CHECK, JOBS, CELERY, SCHEDULE = "workers", "jobs", "Celery", "schedule"
RUN = "`doi-worker run` is one"


def look(ledger: Ledger, settings: Settings) -> Findings:
    """What is to be said of workers, jobs and schedules."""
    yield from of_workers(ledger)
    yield from of_backlog(ledger, stalled_s=settings.metrics.stalled_s)
    yield from of_jobs(ledger)
    beats = ledger.beats()
    if len(beats) > 1:
        todo = "end all but one: one schedule for a deployment"
        names = ", ".join(beats)
        yield doubtful(SCHEDULE, f"{len(beats)} clocks of the schedule run: {names}", todo)


def of_workers(ledger: Ledger) -> Findings:
    """Whether those that are alive are well."""
    workers = ledger.workers()
    for worker in workers:
        if worker.trouble:
            todo = "do what it waits for; where it waits for nothing, end it and start it again"
            yield wrong(CHECK, f"{worker.name} is unhealthy: {worker.trouble}", todo)
        elif worker.waiting:
            todo = "it goes on by itself as soon as that is over"
            yield doubtful(CHECK, f"{worker.name} waits: {worker.waiting}", todo)
        else:
            yield fine(CHECK, f"{worker.name} is {worker.phase}")


def of_backlog(ledger: Ledger, *, stalled_s: float) -> Findings:
    """Whether somebody is at what waits, and it does not wait for too long."""
    backlog, workers = ledger.backlog([]), ledger.workers()
    words = f"{backlog.outstanding:,} batches wait"
    if backlog.outstanding and not workers:
        yield wrong(CHECK, f"{words}, and no worker is alive", f"start one: {RUN}")
    elif not workers:
        yield fine(CHECK, f"none is alive, and nothing waits ({RUN})")
    elif backlog.outstanding and backlog.oldest_s > stalled_s:
        words += f", the oldest for {backlog.oldest_s / 60:,.0f} minutes"
        todo = "see `doi-worker status`: more workers, or what those that are alive wait for"
        yield doubtful(CHECK, words, todo)


def of_jobs(ledger: Ledger) -> Findings:
    """Whether jobs wait for a person."""
    for job in ledger.jobs():
        if job.state is JobState.PAUSED:
            yield doubtful(
                JOBS,
                f"job {job.id} is paused: {job.note}",
                f"see `doi-worker dead list {job.id}`, mend the cause, then `doi-worker resume "
                f"{job.id}`; or `doi-worker cancel {job.id}`",
            )
        elif job.note and job.state is not JobState.SETTLED:
            todo = "mend what it says: its batches are tried again"
            yield doubtful(JOBS, f"job {job.id}: {job.note}", todo)


def of_celery(workers: Mapping[str, Mapping[str, Any]]) -> Findings:
    """Whether the Celery workers that answered take doivec's messages as they must be taken."""
    for name, said in workers.items():
        if not set(said["queues"]) & set(QUEUES):
            continue
        pool = str(said.get("pool", {}).get("implementation", ""))
        if "prefork" in pool:
            todo = "start it by `doi-worker run`, or with `--pool threads`: CUDA survives no fork"
            yield wrong(CELERY, f"{name} takes doivec's messages with the prefork pool", todo)
        options = said.get("broker", {}).get("transport_options", {})
        seconds = options.get("visibility_timeout", VISIBILITY_TIMEOUT_S)
        if seconds != VISIBILITY_TIMEOUT_S:
            yield doubtful(
                CELERY,
                f"{name} gives messages back after {seconds} s, not after {VISIBILITY_TIMEOUT_S} s",
                "let all workers be of one version of doivec, with its own configuration",
            )
