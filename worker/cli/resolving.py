"""Commands that look up what DOIs are called: once, for a list, or for ever."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NoReturn

import click

from schemas.job import Job
from worker import bootstrap, lookups
from worker.cli import console, follow, reasons
from worker.cli.lists import Lists
from worker.cli.lookups import Done, interruptible, say_plan, say_sources, shown, tell
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.cli.progress import Bar
from worker.cli.sources import source_options
from worker.cli.titling import titled, writing
from worker.completion import Begun, Completion
from worker.embedded.owner import refuse_other_owner
from worker.embedded.process import WorkerProcess
from worker.errors import (
    CollectionMissing,
    ConfigurationError,
    IndexUnavailable,
    JobCancelled,
    JobClosed,
    JobPaused,
    LeaseLost,
    LedgerUnavailable,
    StoreBusy,
    StoreUnavailable,
)
from worker.exposition import Exposition
from worker.ingest.producer import Hooks
from worker.metadata.resolver import Resolver
from worker.metadata.supplements import lacks
from worker.settings.environment import Settings, read_settings
from worker.sources.options import SourceOptions

AGAIN_S = 10.0
AWAY = (LedgerUnavailable, StoreUnavailable, StoreBusy, IndexUnavailable, LeaseLost)
ENDED = (CollectionMissing, JobCancelled, JobPaused, JobClosed)

commands = Group("commands")


@commands.example("doi-worker metadata resolve dois.txt -o titled.jsonl.gz")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the records of SOURCE with what was found, as JSON lines; compressed for .gz.",
)
@click.option(
    "--dry-run", is_flag=True, help="Say how many look-ups it takes, how long, and what it costs."
)
@source_options
@as_json
def resolve(
    sources: tuple[str, ...],
    output: Path | None,
    dry_run: bool,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Look up titles, years and venues of what the live collection has without.

    In the local index first, then at the registries that DOIVEC_METADATA__SOURCES names. What is
    found is queued as a job, and what a person gave stands. With SOURCE, the DOIs of lists are
    looked up instead, which need not be ingested. Interrupted, the same command goes on: no answer
    is asked for twice.
    """
    settings = read_settings()
    if output and not sources:
        raise click.UsageError("-o writes the records of lists: name a SOURCE")
    if dry_run:
        return _dry_run(settings, sources, options, as_json=as_json)
    if sources:
        return _resolve_lists(settings, sources, output, options=options, as_json=as_json)
    with bootstrap.connect(settings, command="metadata resolve") as client, interruptible():
        refuse_other_owner(client.owner)
        with lookups.open_resolver(client.settings) as resolver:
            say_sources(settings.metadata)
            done = _pass(client, lookups.completion(client, resolver), resolver)
    return tell(resolver, done, as_json=as_json)


@commands.example("DOIVEC_METADATA__SOURCES=crossref,openalex doi-worker metadata run")
def run() -> NoReturn:
    """Look up, for ever, what the live collection has without a title; for servers.

    One at a time for a deployment: so it keeps the rates that the registries allow.
    """
    settings = read_settings()
    if not settings.redis.url:
        raise ConfigurationError(
            "`metadata run` serves a deployment: set DOIVEC_REDIS__URL and DOIVEC_QDRANT__URL; "
            "without them, `doi-worker metadata resolve` looks up once what is there"
        )
    with (
        bootstrap.connect(settings, command="metadata run") as client,
        lookups.open_resolver(settings) as resolver,
        closing(Exposition(settings.metrics, lives=str, is_ready=str)),
    ):
        say_sources(settings.metadata)
        completion = lookups.completion(client, resolver)
        while True:
            time.sleep(_round(client, completion, resolver))


def _round(client: bootstrap.Client, completion: Completion, resolver: Resolver) -> float:
    """Look up once, whatever is away; returns how long to pause then, in seconds."""
    try:
        done = _pass(client, completion, resolver)
    except AWAY as error:
        console.say(f"trying again in {AGAIN_S:.0f} s: {error}", err=True)
        return AGAIN_S
    except ENDED as error:
        console.say(f"this pass is over: {error}", err=True)
        return client.settings.metadata.pause_s
    if done.job is None:
        return client.settings.metadata.pause_s
    console.print_summary(done.job)
    return 0.0


def _pass(client: bootstrap.Client, completion: Completion, resolver: Resolver) -> Done:
    """Look up once what is lacking, and see the job that brings it to its end."""
    with lookups.sole_resolver(client) as check, completion.survey() as dois:
        resolver.begin(lacking=dois.count)
        with ExitStack() as stack:
            with shown(resolver, dois.count):
                begun = completion.begin(dois, check=check)
                resolver.note(lacking=dois.count, at_once=True)
                if begun is None:
                    return Done(dois.count, None)
                worker = stack.enter_context(follow.embedded_worker(client))
                _fill(client, begun, resolver, lacking=dois.count, worker=worker)
                resolver.note(lacking=dois.count, at_once=True)
            job = _settled(client, begun.job, resolver, worker=worker)
    if worker and not client.settings.qdrant.url:
        with suppress(StoreBusy):  # a search has it open; the next job builds the index
            bootstrap.finish_store(client.settings)
    return Done(dois.count, job)


def _fill(
    client: bootstrap.Client,
    begun: Begun,
    resolver: Resolver,
    *,
    lacking: int,
    worker: WorkerProcess | None,
) -> None:
    said = follow.Wait()

    def look(_: object = None) -> None:
        resolver.note(lacking=lacking)
        if worker:
            worker.check(progressed=True)

    def wait(pause_s: float) -> None:
        look()
        said(lambda: f"nothing of job {begun.job.id} moves: {_reason(client, begun.job)}")
        time.sleep(pause_s)

    client.producer.fill(begun.job, begun.records, hooks=Hooks(accepted=look, wait=wait))


def _settled(
    client: bootstrap.Client, job: Job, resolver: Resolver, *, worker: WorkerProcess | None
) -> Job:
    """The job once it is over; the embedded worker finishes what it has when interrupted."""
    with Bar(job.source, unit="DOIs") as bar:
        watch = follow.Watch(client, job.id, bar=bar, worker=worker)
        try:
            while (found := watch.look()).state not in follow.OVER:
                resolver.note(lacking=resolver.tally["looked_up"])
                time.sleep(follow.POLL_S)
        except (KeyboardInterrupt, SystemExit):
            watch.finish()
            raise
    return found


def _reason(client: bootstrap.Client, job: Job) -> str:
    return reasons.reason(client.ledger.job(job.id), client.ledger.workers())


def _resolve_lists(
    settings: Settings,
    sources: Sequence[str],
    output: Path | None,
    *,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Look up the DOIs of lists: into the index, and with what was given into a file."""
    lists = Lists(sources, limits=settings.limits, options=options)
    with interruptible(), lookups.open_resolver(settings) as resolver:
        say_sources(settings.metadata)
        with shown(resolver, None), writing(output) as write:
            for document in titled(resolver, lists, want=settings.metadata.want):
                write(document)
    lists.rejected.tell()
    code = tell(resolver, Done(resolver.tally["looked_up"], None), as_json=as_json)
    return EXIT_LOSSES if lists.rejected.count else code


def _dry_run(
    settings: Settings, sources: Sequence[str], options: SourceOptions, *, as_json: bool
) -> int:
    """Say what looking up would take; nothing is asked."""
    from worker.metadata.plan import plan  # noqa: PLC0415 - the registries' rates, with their client

    lists = Lists(sources, limits=settings.limits, options=options)
    dois = _asked(settings, lists) if sources else _lacking(settings)
    index = bootstrap.metadata_index(settings)
    found = plan(index, dois, settings=settings.metadata, now=time.time())
    what = "DOIs" if sources else "records of the live collection without what is wanted"
    say_plan(found, what, as_json=as_json)
    lists.rejected.tell()
    say_sources(settings.metadata)
    return EXIT_LOSSES if lists.rejected.count else 0


def _asked(settings: Settings, lists: Lists) -> Iterator[str]:
    return (record.doi for record in lists if lacks(record.metadata, settings.metadata.want))


def _lacking(settings: Settings) -> Iterator[str]:
    with bootstrap.open_contents(settings) as contents:
        yield from (doi for doi, _ in contents.lacking({"title", settings.metadata.want}))
