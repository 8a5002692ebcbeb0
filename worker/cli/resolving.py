"""Commands that look up what DOIs are called: once, for a list, or for ever."""

import gzip
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from schemas.document import Document
from schemas.job import Job, JobState, Rejection
from worker import bootstrap
from worker.cli import console, follow
from worker.cli.lookups import LookupProgress
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.completion import Begun, Completion
from worker.embedded.owner import refuse_other_owner
from worker.embedded.process import WorkerProcess
from worker.errors import (
    CollectionMissing,
    ConfigurationError,
    IndexUnavailable,
    LedgerUnavailable,
    StoreBusy,
    StoreUnavailable,
)
from worker.exposition import Exposition
from worker.files import replacing
from worker.ingest.producer import Hooks
from worker.metadata.plan import plan
from worker.metadata.resolver import Resolver
from worker.metadata.supplements import Want, lacks
from worker.settings import Settings, read_settings
from worker.sources.options import SourceOptions
from worker.sources.records import read

SETTLED = {JobState.SETTLED, JobState.PAUSED, JobState.REJECTED}
POLL_S = 0.5
MINUTE_S, HOUR_S, FEW = 60, 3600, 2
AGAIN_S = 10.0
PASSING = (LedgerUnavailable, StoreUnavailable, IndexUnavailable, CollectionMissing)

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
    with bootstrap.connect(settings, command="metadata resolve") as client:
        refuse_other_owner(client.owner)
        with (
            bootstrap.open_resolver(client.settings) as resolver,
            bootstrap.completing(client, resolver) as completion,
        ):
            _say_sources(settings)
            done = _pass(client, completion, resolver)
    return _tell(resolver, done, as_json=as_json)


@commands.example("DOIVEC_METADATA__SOURCES=crossref,openalex doi-worker metadata run")
def run() -> int:
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
        bootstrap.open_resolver(settings) as resolver,
        bootstrap.completing(client, resolver) as completion,
    ):
        _say_sources(settings)
        with closing(Exposition(settings.metrics, lives=str, is_ready=str)):
            while True:
                time.sleep(_round(client, completion, resolver))


def _round(client: bootstrap.Client, completion: Completion, resolver: Resolver) -> float:
    """Look up once, whatever is away; returns how long to pause then, in seconds."""
    try:
        done = _pass(client, completion, resolver)
    except PASSING as error:
        console.say(f"trying again in {AGAIN_S:.0f} s: {error}", err=True)
        return AGAIN_S
    if done.job is None:
        return client.settings.metadata.pause_s
    console.print_summary(done.job)
    return 0.0


class Done(NamedTuple):
    """A pass: how many records lacked something, and the job that brings what was found."""

    lacking: int
    job: Job | None


def _pass(client: bootstrap.Client, completion: Completion, resolver: Resolver) -> Done:
    """Look up once what is lacking, and see the job that brings it to its end."""
    resolver.tally.clear()
    with completion.survey() as dois:
        with LookupProgress(resolver, dois.count) as progress:
            begun = completion.begin(progress.through(dois))
            resolver.note(lacking=dois.count)
            if begun is None:
                return Done(dois.count, None)
            with follow.embedded_worker(client) as worker:
                _fill(client, begun, resolver, lacking=dois.count, worker=worker)
                job = _settled(client, begun.job.id, worker=worker)
        resolver.note(lacking=dois.count)
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
    def look(_: object = None) -> None:
        resolver.note(lacking=lacking)
        if worker:
            worker.check(progressed=True)

    def wait(pause_s: float) -> None:
        look()
        time.sleep(pause_s)

    client.producer.fill(begun.job, begun.records, hooks=Hooks(accepted=look, wait=wait))


def _settled(client: bootstrap.Client, job: str, *, worker: WorkerProcess | None) -> Job:
    before = -1
    while (found := client.patience(client.ledger.job, job)).state not in SETTLED:
        if worker:
            worker.check(progressed=found.settled > before)
        before = found.settled
        time.sleep(POLL_S)
    return found


def _resolve_lists(
    settings: Settings,
    sources: Sequence[str],
    output: Path | None,
    *,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Look up the DOIs of lists: into the index, and with what was given into a file."""
    rejected: list[Rejection] = []
    with bootstrap.open_resolver(settings) as resolver:
        _say_sources(settings)
        with LookupProgress(resolver, 0) as progress, _writing(output) as write:
            records = _records(sources, settings, options, rejected=rejected)
            for document in _looked_up(resolver, records, want=settings.metadata.want):
                write(document)
                progress.show()
        resolver.note(lacking=resolver.tally["looked_up"])
    for rejection in rejected[: console.SHOWN_REJECTIONS]:
        console.print_rejection(rejection)
    code = _tell(resolver, Done(resolver.tally["looked_up"], None), as_json=as_json)
    return EXIT_LOSSES if rejected else code


def _records(
    sources: Sequence[str],
    settings: Settings,
    options: SourceOptions,
    *,
    rejected: list[Rejection],
) -> Iterator[Document]:
    for source in sources:
        for record in read(source, limits=settings.limits, options=options):
            if isinstance(record, Rejection):
                rejected.append(record)
            else:
                yield record


def _looked_up(
    resolver: Resolver, records: Iterable[Document], *, want: Want
) -> Iterator[Document]:
    """The records in their order, each with what was found and it lacks."""
    held = deque[Document]()

    def dois() -> Iterator[str]:
        for record in records:
            held.append(record)
            if lacks(record.metadata, want):
                yield record.doi

    for page in resolver.resolve(dois()):
        for doi in page.dois:
            while held[0].doi != doi or not lacks(held[0].metadata, want):
                yield held.popleft()
            yield held.popleft().supplemented(page.found.get(doi, ()))
    yield from held


@contextmanager
def _writing(output: Path | None) -> Iterator[Callable[[Document], object]]:
    """What writes a record as a line of JSON; the file is there in whole, or as it was."""
    if output is None:
        yield lambda _: None
        return
    with replacing(output) as made:
        opened = gzip.open if output.suffix == ".gz" else open
        with opened(made, "wt", encoding="utf-8") as file:
            yield lambda d: file.write(_line({"doi": d.doi, **d.metadata}))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _dry_run(
    settings: Settings, sources: Sequence[str], options: SourceOptions, *, as_json: bool
) -> int:
    """Say what looking up would take; nothing is asked."""
    index = bootstrap.metadata_index(settings)
    found = plan(
        index, _asked(settings, sources, options), settings=settings.metadata, now=time.time()
    )
    if as_json:
        estimates = [estimate._asdict() for estimate in found.estimates]
        console.say_json({**found._asdict(), "estimates": estimates})
        return 0
    what = "DOIs" if sources else "records of the live collection without what is wanted"
    console.say(f"{found.dois:,} {what}; the index knows {found.known:,} of them")
    for e in found.estimates:
        cost = f", ${e.usd:,.4f}" if e.usd else ""
        console.say(
            f"{e.registry}: at most {e.dois:,} DOIs in {e.requests:,} requests, "
            f"{_span(e.least_s)} to {_span(e.most_s)}{cost}"
        )
    _say_sources(settings)
    return 0


def _asked(settings: Settings, sources: Sequence[str], options: SourceOptions) -> Iterator[str]:
    want = settings.metadata.want
    if sources:
        records = _records(sources, settings, options, rejected=[])
        yield from (record.doi for record in records if lacks(record.metadata, want))
        return
    with bootstrap.open_contents(settings) as contents:
        yield from (doi for doi, _ in contents.lacking({"title", want}))


def _tell(resolver: Resolver, done: Done, *, as_json: bool) -> int:
    """Say what came of it; 3 where some could not be asked for."""
    tally, resting = resolver.tally, resolver.resting
    registries = {
        name: {what: tally[f"{what}:{name}"] for what in ("asked", "found", "absent")}
        for name in sorted({key.partition(":")[2] for key in tally if ":" in key})
    }
    if as_json:
        console.say_json(
            {
                "lacking": done.lacking,
                **{name: tally[name] for name in ("looked_up", "found", "known", "unanswered")},
                "registries": registries,
                "left_alone": {name: rest.why for name, rest in resting.items()},
                "job": done.job.id if done.job else None,
            }
        )
    else:
        unknown = tally["looked_up"] - tally["found"] - tally["unanswered"]
        console.say(
            f"of {tally['looked_up']:,} DOIs that were looked up, {tally['found']:,} are found "
            f"({tally['known']:,} in the index before), {unknown:,} known to no source that was "
            f"asked, {tally['unanswered']:,} not answered yet"
        )
        for name, n in registries.items():
            console.say(
                f"  {name}: asked for {n['asked']:,}, found {n['found']:,}, "
                f"not known there {n['absent']:,}"
            )
        if done.job:
            console.print_summary(done.job)
    for name, rest in resting.items():
        console.say(f"{name} is left alone: {rest.why}", err=True)
    return EXIT_LOSSES if tally["unanswered"] else 0


def _say_sources(settings: Settings) -> None:
    if not settings.metadata.sources:
        console.say(
            "no registry is asked: DOIVEC_METADATA__SOURCES names none, such as "
            "`crossref,openalex`; only the local index is",
            err=True,
        )


def _span(seconds: float) -> str:
    if seconds < FEW * MINUTE_S:
        return f"{seconds:,.0f} s"
    if seconds < FEW * HOUR_S:
        return f"{seconds / MINUTE_S:,.0f} minutes"
    return f"{seconds / HOUR_S:,.1f} hours"
