"""Commands on jobs: queue lists, work them off, watch, cancel, replay."""

import time
from pathlib import Path

import click

from schemas.job import Job, JobState
from worker import bootstrap
from worker.cli import console, follow
from worker.cli.options import Group, as_json, rejects_file, sources_argument
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.embedded.owner import refuse_any_owner
from worker.embedded.process import WorkerProcess
from worker.errors import WorkerError
from worker.settings import read_settings
from worker.sources.options import SourceOptions

commands = Group("commands")


@commands.example("doi-worker ingest dois.txt more.csv.gz --rejects rejected.jsonl")
@sources_argument
@rejects_file
@source_options
@as_json
def ingest(
    sources: tuple[str, ...], rejects: Path | None, options: SourceOptions, as_json: bool
) -> int:
    """Queue lists of DOIs, with what is known of them, as one job and follow it to its end.

    SOURCE is a file, plain or compressed, or - for standard input: a DOI a line; a table or
    export of Zotero, Web of Science, Scopus, PubMed, ...; JSON; BibTeX, RIS. Its format is told
    by what it holds. Interrupted, the same command goes on where it was.
    """
    with bootstrap.connect(read_settings(), command="ingest") as client:
        job, failure = follow.ingest(client, sources, rejects=rejects, options=options)
        code = _report(client, job, as_json=as_json)
    if failure:
        raise failure
    return code


@commands.example("doi-worker queue dois.jsonl.xz")
@sources_argument
@rejects_file
@source_options
@as_json
def queue(
    sources: tuple[str, ...], rejects: Path | None, options: SourceOptions, as_json: bool
) -> int:
    """Queue lists of DOIs as one job, for workers to work off, and print the job's id."""
    with bootstrap.connect(read_settings(), command="queue") as client:
        job = follow.open_job(client, sources, options)
        failure = follow.queue(client, job, sources, rejects=rejects, options=options)
        job = client.ledger.job(job.id)
        console.print_rejections(client.ledger.rejections(job.id), job.invalid)
        console.print_reading(job.reading, without_doi=job.without_doi)
        if not follow.is_worked(client):
            console.say("no worker runs here; `doi-worker run` works off what is queued", err=True)
        console.say(job.model_dump_json() if as_json else job.id)
    if failure:
        raise failure
    return EXIT_LOSSES if job.invalid or job.without_doi else 0


@commands.example("DOIVEC_REDIS__URL=redis://queue:6379/0 doi-worker run")
@click.option("--loglevel", default="INFO", show_default=True, help="Least severe level logged.")
def run(loglevel: str) -> int:
    """Be a worker until told to stop (SIGTERM or Ctrl-C: what is in hand is finished first).

    Without DOIVEC_REDIS__URL it brings the private Redis, which `doi-worker queue` and
    `doi-worker ingest` on this machine then use too.
    """
    settings = read_settings()
    if settings.redis.url:
        from worker.app import app  # noqa: PLC0415 - its options need the URL

        app.worker_main(["worker", "--loglevel", loglevel, "--without-gossip", "--without-mingle"])
        return 0
    with bootstrap.connect(settings, command="run") as client:
        refuse_any_owner(client.owner)
        worker = WorkerProcess(client.settings, client.settings.redis, log=None)
        try:
            while True:
                worker.check(progressed=False)
                client.patience(client.ledger.ping)
                time.sleep(1.0)
        finally:
            worker.stop()


@commands.example("doi-worker status 3f2a9c01d4e5")
@click.argument("job", required=False)
@as_json
def status(job: str | None, as_json: bool) -> int:
    """Show a job's counts, or the latest jobs."""
    with bootstrap.connect(read_settings(), command="status", compares=False) as client:
        jobs = [client.ledger.job(job)] if job else client.ledger.jobs()
        console.print_place(client.settings, is_private=client.is_private)
        if job:
            return _report(client, jobs[0], as_json=as_json)
        if as_json:
            console.say_json([j.model_dump(mode="json") for j in jobs])
        else:
            ledger = client.ledger
            candidate = ledger.route().candidate
            console.print_jobs(jobs, outstanding=ledger.outstanding(), candidate=candidate)
        return 0


@commands.example("doi-worker cancel 3f2a9c01d4e5")
@click.argument("job")
@as_json
def cancel(job: str, as_json: bool) -> int:
    """Cancel a job's batches that no worker has claimed; what is in hand is finished."""
    with bootstrap.connect(read_settings(), command="cancel") as client:
        count = client.ledger.cancel(job)
        console.say_answer(
            {"job": job, "cancelled": count}, f"{count:,} records cancelled", as_json=as_json
        )
        return 0


@commands.example("doi-worker resume 3f2a9c01d4e5")
@click.argument("job")
def resume(job: str) -> int:
    """Let a job go on that paused because nearly all of its records failed."""
    with bootstrap.connect(read_settings(), command="resume") as client:
        client.ledger.job(job)
        resumed = client.ledger.resume(job)
        console.say("goes on" if resumed else "was not paused")
        return 0


dead = Group("dead", help="Records that could not be stored, with stage and reason.")
commands.add_command(dead)


@dead.example("doi-worker dead list 3f2a9c01d4e5 --json", name="list")
@click.argument("job", required=False)
@as_json
def dead_list(job: str | None, as_json: bool) -> int:
    """List the dead letters of a job, or of all; with --json whole, a line each."""
    with bootstrap.connect(read_settings(), command="dead list") as client:
        _check_known(client, job)
        letters = client.ledger.dead(job)
        if as_json:
            for letter in letters:
                console.say(letter.model_dump_json())
        elif not console.print_dead(letters):
            console.say("no dead letters")
        return 0


@dead.example("doi-worker dead replay 3f2a9c01d4e5", name="replay")
@click.argument("job", required=False)
@as_json
def dead_replay(job: str | None, as_json: bool) -> int:
    """Queue dead letters again, in the order that they had among other records.

    Without servers they are worked off at once; otherwise the workers take them up.
    """
    with bootstrap.connect(read_settings(), command="ingest") as client:
        _check_known(client, job)
        return _replay(client, job, as_json=as_json)


def _report(client: bootstrap.Client, job: Job, *, as_json: bool) -> int:
    rejections = client.ledger.rejections(job.id)
    if as_json:
        answer = job.model_dump(mode="json")
        console.say_json(answer | {"rejections": [r._asdict() for r in rejections]})
    else:
        console.print_rejections(rejections, job.invalid)
        console.print_summary(job)
        console.print_reading(job.reading, without_doi=job.without_doi)
    if job.state is JobState.PAUSED:
        raise WorkerError(
            f"job {job.id} is paused: {job.note}; see `doi-worker dead list {job.id}`, "
            f"then `doi-worker resume {job.id}` or `doi-worker cancel {job.id}`"
        )
    lost = job.invalid + job.without_doi + job.dead + job.cancelled
    return EXIT_LOSSES if lost else 0


def _replay(client: bootstrap.Client, job: str | None, *, as_json: bool) -> int:
    jobs = [job] if job else client.ledger.jobs_with_dead()
    batches = {name: client.ledger.replay(name) for name in jobs}
    for name, numbers in batches.items():
        for number in numbers:
            client.producer.send(name, number)
    settled = follow.replay(client, [name for name, numbers in batches.items() if numbers])
    if as_json:
        console.say_json([j.model_dump(mode="json") for j in settled])
    for j in settled if not as_json else ():
        console.print_summary(j)
    return EXIT_LOSSES if any(j.dead for j in settled) else 0


def _check_known(client: bootstrap.Client, job: str | None) -> None:
    if job:
        client.ledger.job(job)  # raises JobUnknown
