"""The command that holds what jobs accepted against what is there, and queues again."""

from contextlib import ExitStack

import click

from schemas.job import Job, JobState
from worker import bootstrap
from worker.audit import Repair, Tally, Trouble
from worker.cli import console, follow
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.cli.progress import Bar
from worker.embedded.owner import refuse_any_owner
from worker.ledger.kept import End
from worker.settings.environment import read_settings

commands = Group("commands")
ROUNDS = 3  # what is repaired may have hidden what came later


@commands.example("doi-worker audit --repair")
@click.argument("job", required=False)
@click.option(
    "--repair", is_flag=True, help="Queue again what is missing, and wait until it is there."
)
@as_json
def audit(job: str | None, repair: bool, as_json: bool) -> int:
    """Hold what a job accepted, or all jobs, against what Qdrant itself holds, by ids.

    A line for each record that is missing, or outdated (there with less than was given for it);
    without a JOB also for each point that is unexpected (another program's, or deleted since) or
    under a foreign id. What was deleted, is dead or was cancelled is not missing. The ledger keeps
    jobs for DOIVEC_INGEST__RETENTION_S. The exit code is 3 where something is wrong, after a repair
    where it still is.
    """
    command = "ingest" if repair else "audit"
    with bootstrap.connect(read_settings(), command=command) as client:
        if repair and not client.settings.qdrant.url:
            refuse_any_owner(client.owner)
        if job:
            job = client.ledger.job(client.ledger.find(job)).id
        console.print_place(client.settings, is_private=client.is_private)
        tally, mended = _look(client, job, repair=repair, as_json=as_json)
        for _ in range(ROUNDS):
            if mended is None or mended.state is not JobState.SETTLED:
                break
            tally, mended = _look(client, job, repair=repair, as_json=as_json)
        console.say_answer(tally.answer, _words(tally), as_json=as_json)
        return EXIT_LOSSES if tally.troubles.total() else 0


def _look(
    client: bootstrap.Client, job: str | None, *, repair: bool, as_json: bool
) -> tuple[Tally, Job | None]:
    """One audit, and the job that repaired what was wanting, as it ended."""
    with ExitStack() as stack:
        mending = stack.enter_context(_repair(client, job)) if repair else None
        audit = stack.enter_context(bootstrap.auditing(client, wanting=mending))
        bar = stack.enter_context(Bar("auditing", unit="records and points", brief=True))
        for findings in audit.look(job):
            for finding in findings:
                words = f"{finding.doi or finding.id}  {finding.trouble}: {finding.words}"
                console.say_answer(finding._asdict(), words, as_json=as_json)
            bar.show(audit.tally.records + audit.tally.points, None)
    return audit.tally, _settled(client, mending.job) if mending and mending.job else None


def _repair(client: bootstrap.Client, job: str | None) -> Repair:
    source = f"repair of {job or 'all jobs'}"
    return bootstrap.repairing(client, source=source, is_worked=_is_served(client))


def _settled(client: bootstrap.Client, job: Job) -> Job:
    """A job that was queued, once it has ended."""
    console.say(f"queued again as job {job.id}; it is waited for", err=True)
    if _is_served(client):
        return follow.follow(client, job)
    (settled,) = follow.replay(client, [job.id])
    return settled


def _is_served(client: bootstrap.Client) -> bool:
    """Whether other processes are the workers."""
    return client.settings.qdrant.url is not None and not client.is_private


def _words(tally: Tally) -> str:
    batches = ", ".join(f"{tally.batches[end]:,} {end}" for end in End if tally.batches[end])
    wrong = ", ".join(f"{tally.troubles[t]:,} {t}" for t in Trouble)
    points = f"; {tally.points:,} points" if tally.points else ""
    return (
        f"{tally.records:,} records of {tally.batches.total():,} batches ({batches or 'none'})"
        f"{points}: {wrong}; {tally.excused:,} need not be there"
    )
