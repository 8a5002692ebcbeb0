"""doi-worker: queue DOI lists, work them off, ask for similar DOIs."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from schemas.doi import InvalidDoi
from schemas.job import Job, JobState
from worker import bootstrap
from worker.cli import console, follow, program
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.embedded.owner import refuse_any_owner
from worker.embedded.process import WorkerProcess
from worker.errors import WorkerError
from worker.settings import read_settings
from worker.sources.options import SourceOptions
from worker.sources.streams import is_same_file


def spare_sources(
    context: click.Context, _parameter: click.Parameter, sources: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a `--rejects` file that is one of the sources: to write it would empty them."""
    rejects = context.params.get("rejects")  # options are read before arguments
    if rejects and any(is_same_file(source, rejects) for source in sources):
        raise click.UsageError(f"--rejects {rejects} is one of the files to read")
    return sources


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


def _in_a_folder(
    _context: click.Context, _option: click.Parameter, path: Path | None
) -> Path | None:
    """Where the file can't be written, that is said before the work is done."""
    if path and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise click.BadParameter(f"there is no folder {path.parent} that can be written")
    return path


rejects_file = click.option(
    "--rejects",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=_in_a_folder,
    help="Write every rejected line to this file, as JSON lines.",
)
sources_argument = click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", callback=spare_sources
)


class Group(click.Group):
    """A group whose commands each have an example."""

    def example(self, line: str, **options: Any) -> Callable[[Callable[..., int]], click.Command]:
        """Add a command whose help ends with an example."""
        return self.command(epilog=f"Example: {line}", **options)


@click.group(cls=Group)
@click.version_option(package_name="doivec")
def cli() -> None:
    """Turn lists of DOIs into a searchable Qdrant collection.

    Nothing need be configured: without DOIVEC_REDIS__URL and DOIVEC_QDRANT__URL, a private
    Redis and an embedded Qdrant run for as long as a command does.

    Exit codes: 0 all went well; 3 settled, but with records that are invalid, without a DOI,
    dead-lettered or cancelled; 1 failed; 2 wrong usage.
    """


@cli.example("doi-worker ingest dois.txt more.csv.gz --rejects rejected.jsonl")
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


@cli.example("doi-worker queue dois.jsonl.xz")
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


@cli.example("DOIVEC_REDIS__URL=redis://queue:6379/0 doi-worker run")
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


@cli.example("doi-worker status 3f2a9c01d4e5")
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


@cli.example("doi-worker adopt")
@as_json
def adopt(as_json: bool) -> int:
    """Take this ledger and this store for one deployment, after a restore.

    Each remembers the other, and every command and worker refuses a pair that doesn't belong
    together. This makes them one, whatever they were: see that no worker runs, and that both are
    those that you mean.
    """
    with bootstrap.connect(read_settings(), command="adopt", compares=False) as client:
        refuse_any_owner(client.owner)
        made = bootstrap.adopt(client)
        has = "with its collections" if made.has_store else "which has no collection yet"
        _say(made._asdict(), f"deployment {made.id}: {made.alias}, {has}", as_json=as_json)
        return 0


@cli.example("doi-worker cancel 3f2a9c01d4e5")
@click.argument("job")
@as_json
def cancel(job: str, as_json: bool) -> int:
    """Cancel a job's batches that no worker has claimed; what is in hand is finished."""
    with bootstrap.connect(read_settings(), command="cancel") as client:
        count = client.ledger.cancel(job)
        _say({"job": job, "cancelled": count}, f"{count:,} records cancelled", as_json=as_json)
        return 0


@cli.example("doi-worker resume 3f2a9c01d4e5")
@click.argument("job")
def resume(job: str) -> int:
    """Let a job go on that paused because nearly all of its records failed."""
    with bootstrap.connect(read_settings(), command="resume") as client:
        client.ledger.job(job)
        resumed = client.ledger.resume(job)
        console.say("goes on" if resumed else "was not paused")
        return 0


dead = Group("dead", help="Records that could not be stored, with stage and reason.")
cli.add_command(dead)


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


@cli.example("doi-worker delete 10.1038/s41586-020-2649-2")
@click.argument("dois", nargs=-1, required=True, metavar="DOI...")
@as_json
def delete(dois: tuple[str, ...], as_json: bool) -> int:
    """Remove DOIs from the collection, for good: late messages don't bring them back."""
    with bootstrap.connect(read_settings(), command="delete") as client:
        removed = bootstrap.delete(client, dois)
        done = "removed" if removed else "will be removed with the running worker's next sweep"
        answer = {"dois": len(dois), "removed": removed}
        _say(answer, f"{len(dois):,} DOIs {done}", as_json=as_json)
        return 0


@cli.example('doi-worker search --text "array programming" -k 5 --registrant 10.1038')
@click.argument("doi", required=False)
@click.option("--text", help="Search with a text instead of a DOI.")
@click.option("-k", "k", default=10, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--registrant", help="Only DOIs of this prefix, such as 10.1038.")
@as_json
def search(doi: str | None, text: str | None, k: int, registrant: str | None, as_json: bool) -> int:
    """Print the DOIs most similar to a DOI, or to a text, with their cosine similarity."""
    if (doi is None) == (text is None):
        raise click.UsageError("give a DOI or --text, one of the two")
    with bootstrap.open_searcher(read_settings()) as searcher:
        hits = searcher.search(doi, text=text, k=k, registrant=registrant)
    if as_json:
        console.say_json([hit.model_dump() for hit in hits])
    else:
        console.print_hits(hits)
    return 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `doi-worker`; one clear line for each failure, no traceback."""
    signal.signal(signal.SIGTERM, _terminate)
    failures = (WorkerError, InvalidDoi, OSError, sqlite3.Error)
    program.run(cli, arguments, name="doi-worker", failures=failures)


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


def _say(answer: dict[str, Any], words: str, *, as_json: bool) -> None:
    console.say(json.dumps(answer) if as_json else words)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)
