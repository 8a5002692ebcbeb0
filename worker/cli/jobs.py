"""Commands on jobs: queue lists, work them off, watch, cancel, replay."""

import socket
import time
from pathlib import Path

import click

from schemas.job import Job, JobState
from worker import bootstrap
from worker.cli import console, follow
from worker.cli import status as status_cli
from worker.cli.options import Group, as_json, rejects_file, sources_argument
from worker.cli.produce import Holding, Producing
from worker.cli.program import EXIT_INTERRUPTED, EXIT_LOSSES
from worker.cli.progress import Bar
from worker.cli.sources import source_options
from worker.embedded.owner import refuse_any_owner
from worker.embedded.process import WorkerProcess
from worker.errors import WorkerError
from worker.logs import LEVELS, set_up
from worker.settings.environment import read_settings
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
    settings = read_settings()
    producing = Producing(sources, options=options, limits=settings.limits)
    with bootstrap.connect(settings, command="ingest") as client:
        job, failure = follow.ingest(client, producing, rejects=rejects)
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
    settings = read_settings()
    producing = Producing(sources, options=options, limits=settings.limits)
    with bootstrap.connect(settings, command="queue") as client:
        console.print_place(client.settings, is_private=client.is_private)
        producing.begin()
        job = producing.open(client)
        with Bar(f"queueing {job.source}", unit="DOIs") as bar:
            watch = Holding(producing, bar)
            failure = producing.queue(
                client, job, rejects=rejects, watch=watch, is_worked=follow.is_worked
            )
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
@click.option(
    "--loglevel",
    type=click.Choice(LEVELS, case_sensitive=False),
    help="Least severe level logged, in place of DOIVEC_LOG__LEVEL.",
)
def run(loglevel: str | None) -> int:
    """Be a worker until told to stop (SIGTERM or Ctrl-C: what is in hand is finished first).

    Without DOIVEC_REDIS__URL it brings the private Redis, which `doi-worker queue` and
    `doi-worker ingest` on this machine then use too.
    """
    settings = read_settings()
    if settings.redis.url:
        from worker.app import app  # noqa: PLC0415 - its options need the URL

        level = loglevel or settings.log.level
        options = ("--loglevel", level, "--without-gossip", "--without-mingle")
        app.worker_main(["--quiet", "worker", *options])
        return 0
    with bootstrap.connect(settings, command="run") as client:
        refuse_any_owner(client.owner)
        set_up(settings.log, level=loglevel)
        worker = WorkerProcess(client.settings, client.settings.redis, log=None, level=loglevel)
        try:
            while True:
                worker.check(progressed=False)
                client.patience(client.ledger.ping)
                time.sleep(1.0)
        finally:
            worker.finish()


@commands.example("doi-worker status 3f2a9c01d4e5")
@click.argument("job", required=False)
@click.option("--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
@as_json
def status(job: str | None, watch: bool, as_json: bool) -> int:
    """Show how things stand: servers, workers and the latest jobs; or one job's counts.

    JOB is a job's id, or its beginning. With --watch it is shown again and again: on a terminal
    every two seconds, elsewhere every half minute.
    """
    with bootstrap.connect(read_settings(), command="status", compares=False) as client:
        if job:
            job = client.ledger.find(job)
            client.ledger.job(job)  # raises JobUnknown
        if watch:
            status_cli.watch(client, job)
            return 0
        if job:
            console.print_place(client.settings, is_private=client.is_private)
            return _report(client, client.ledger.job(job), as_json=as_json)
        if as_json:
            console.print_place(client.settings, is_private=client.is_private)
            console.say_json([j.model_dump(mode="json") for j in client.ledger.jobs()])
        else:
            for line in status_cli.lines(client):
                console.out.print(line)
        return 0


@commands.example("doi-worker follow 3f2a9c01d4e5", name="follow")
@click.argument("job")
@as_json
def follow_job(job: str, as_json: bool) -> int:
    """Show a job that is queued until it has settled, as `ingest` does.

    JOB is its id, or its beginning. Whoever works it off is another process; Ctrl-C ends this
    command, not the job.
    """
    with bootstrap.connect(read_settings(), command="follow", compares=False) as client:
        found = client.ledger.job(client.ledger.find(job))
        try:
            settled = follow.follow(client, found)
        except KeyboardInterrupt:
            console.say(f"job {found.id} goes on without being shown", err=True)
            return EXIT_INTERRUPTED
        return _report(client, settled, as_json=as_json)


@commands.example("doi-worker health")
@as_json
def health(as_json: bool) -> int:
    """Say whether the workers of this machine are well, for whoever keeps them alive.

    The exit code is 1 where none is alive, and where one has work and has settled nothing for
    DOIVEC_METRICS__STALLED_S.
    """
    with bootstrap.connect(read_settings(), command="health", compares=False) as client:
        workers = [w for w in client.ledger.workers() if w.host == socket.gethostname()]
        troubles = {w.name: w.trouble for w in workers if w.trouble}
        if as_json:
            console.say_json([w.model_dump(mode="json") for w in workers])
        else:
            for worker in workers:
                told = worker.waiting and f"{worker.phase}, waits: {worker.waiting}"
                console.say(f"{worker.name}: {worker.trouble or told or worker.phase}")
        if not workers:
            raise WorkerError(f"no worker of {socket.gethostname()} is alive")
        return 1 if troubles else 0


@commands.example("doi-worker cancel 3f2a9c01d4e5")
@click.argument("job")
@as_json
def cancel(job: str, as_json: bool) -> int:
    """Cancel a job's batches that no worker has claimed; what is in hand is finished."""
    with bootstrap.connect(read_settings(), command="cancel") as client:
        job = client.ledger.find(job)
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
        job = client.ledger.find(job)
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
        job = _known(client, job)
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
        job = _known(client, job)
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
            client.patience(client.producer.send, name, number)
    settled = follow.replay(client, [name for name, numbers in batches.items() if numbers])
    if as_json:
        console.say_json([j.model_dump(mode="json") for j in settled])
    for j in settled if not as_json else ():
        console.print_summary(j)
    return EXIT_LOSSES if any(j.dead for j in settled) else 0


def _known(client: bootstrap.Client, job: str | None) -> str | None:
    """The id of the job that begins so; raises `JobUnknown`."""
    return client.ledger.job(client.ledger.find(job)).id if job else None
