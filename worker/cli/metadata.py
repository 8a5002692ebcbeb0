"""Commands on what DOIs are called: the local index of titles, and what is in it."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from schemas.doi import normalize
from worker import bootstrap
from worker.cli import console
from worker.cli.indexing import IndexProgress
from worker.cli.lists import Dois
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.errors import SourceError
from worker.metadata.entries import Entry
from worker.metadata.index import Index
from worker.metadata.memory import noted
from worker.settings.environment import read_settings
from worker.sources.options import SourceOptions
from worker.sources.parsing import attempt

if TYPE_CHECKING:
    from worker.metadata.indexing import Indexing, Summary

SHOWN_PASSED = 5
COUNTS = ("read", "kept", "without_doi", "bare", "unwanted", "rejected")

commands = Group("commands")
metadata = Group("metadata", help="Titles, abstracts, years and venues for bare DOIs.")
commands.add_command(metadata)


@metadata.example("doi-worker metadata index crossref/ --only references.csv", name="index")
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT...")
@click.option(
    "--only",
    multiple=True,
    metavar="SOURCE",
    help="Keep only the DOIs that this list names, a file as `ingest` reads it.",
)
@click.option(
    "--abstracts/--no-abstracts",
    default=None,
    help="Keep abstracts; without either, DOIVEC_METADATA__WANT says whether.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="How many files are read side by side; as many as this machine has cores, unless given.",
)
@source_options
@as_json
def index_(
    snapshots: tuple[str, ...],
    only: tuple[str, ...],
    abstracts: bool | None,
    jobs: int | None,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Bring snapshots into the local index of what DOIs are called.

    SNAPSHOT is a file or a folder: Crossref's public data file (of any year, in a tar too),
    OpenAlex's works, DataCite's data file, what `export` wrote, or any file that `ingest` reads;
    each is told by what it holds, compressed or not. A record that its source changed later
    replaces an older one. Interrupted or killed, the same command goes on with the files that are
    not done. --encoding, --format and --column say how --only is to be read.
    """
    from worker.metadata.indexing import Indexing, Options  # noqa: PLC0415 - loads numpy

    settings = read_settings()
    index = bootstrap.metadata_index(settings)
    wanted = Dois(only, limits=settings.limits, options=options) if only else None
    if abstracts is None:
        abstracts = settings.metadata.want == "abstract"
    wishes = Options(abstracts=abstracts, only=wanted, jobs=jobs or _cores())
    indexing = Indexing(index, limits=settings.limits, now=time.time())
    with IndexProgress() as progress:
        summary = indexing.run(snapshots, wishes, show=progress.show)
    if wanted:
        wanted.rejected.tell()
    _tell(summary, index, as_json=as_json)
    if troubled := [one for one in summary.outcomes if one.trouble]:
        raise SourceError(
            f"{len(troubled)} of {len(summary.outcomes)} files could not be read to their end; "
            "what was read of them is kept, and the same command tries them again"
        )
    rejected = any(one.rejected for one in summary.outcomes)
    return EXIT_LOSSES if rejected or (wanted and wanted.rejected.count) else 0


@metadata.example("doi-worker metadata show 10.1038/s41586-020-2649-2", name="show")
@click.argument("doi")
@as_json
def show(doi: str, as_json: bool) -> int:
    """Show what the local index has of a DOI: from which source, since when and until when.

    The exit code is 3 where it has nothing.
    """
    index = bootstrap.metadata_index(read_settings())
    canonical = attempt(normalize, doi)
    entries = index.entries([canonical]).get(canonical, [])
    if as_json:
        console.say_json({"doi": canonical, "sources": [_described(entry) for entry in entries]})
    else:
        console.out.print(canonical)
        for line in chain.from_iterable(map(_lines, entries)):
            console.out.print(line)
        if not entries:
            console.out.print(f"  nothing is known of it in {index.path}")
    return 0 if entries else EXIT_LOSSES


@metadata.example("doi-worker metadata forget 10.1038/s41586-020-2649-2 wrong.txt", name="forget")
@click.argument("sources", nargs=-1, required=True, metavar="DOI|SOURCE...")
@source_options
@as_json
def forget(sources: tuple[str, ...], options: SourceOptions, as_json: bool) -> int:
    """Remove DOIs from the local index, so that they are looked up again.

    SOURCE is a file as `ingest` reads it, or - for standard input. What the collection has is
    not changed. The exit code is 3 where a source had lines without a DOI.
    """
    settings = read_settings()
    dois = Dois(sources, limits=settings.limits, options=options)
    index = bootstrap.metadata_index(settings)
    forgotten = index.forget(dois)
    dois.rejected.tell()
    answer = {"dois": dois.count, "forgotten": forgotten, "invalid": dois.rejected.count}
    words = f"of {dois.count:,} DOIs {forgotten:,} were in the index and are forgotten"
    console.say_answer(answer, words, as_json=as_json)
    return EXIT_LOSSES if dois.rejected.count else 0


@metadata.example("doi-worker metadata status", name="status")
@as_json
def status(as_json: bool) -> int:
    """Show what the local index holds, and how far the resolver is: found, waiting, left alone."""
    from worker.metadata.indexing import Indexing  # noqa: PLC0415 - loads numpy

    settings = read_settings()
    index = bootstrap.metadata_index(settings)
    answer = index_status(index, Indexing(index, limits=settings.limits, now=time.time()))
    looked_up = noted(index)
    if as_json:
        console.say_json({"index": answer, "resolver": looked_up})
        return 0
    for line in (*index_lines(answer), *resolver_lines(looked_up)):
        console.say(line)
    return 0


def resolver_lines(said: Mapping[str, Any]) -> Iterator[str]:
    """What the resolver last left of how far it is, in words."""
    if not said:
        yield "nothing was looked up yet: `doi-worker metadata resolve`"
        return
    waiting = said["lacking"] - said.get("looked_up", 0)
    yield (
        f"looked up {_time(said['at'])}: {said['lacking']:,} DOIs lacked something, of which "
        f"{said.get('found', 0):,} are found, {waiting:,} waiting, "
        f"{said.get('unanswered', 0):,} not answered yet"
    )
    for name, rest in said["resting"].items():
        until = _time(rest["until"]) if rest["until"] else "it is started anew"
        yield f"  {name} is left alone until {until}: {rest['why']}"


def index_status(index: Index, indexing: "Indexing") -> dict[str, Any]:
    """What the index holds, as JSON."""
    counts = index.counts(now=time.time())
    files = index.files().values()
    return {
        "path": str(index.path),
        "bytes": index.size(),
        "sources": {name: held._asdict() for name, held in counts.items() if any(held)},
        "files": len(files),
        "last_file": max((_time(file.done) for file in files), default=None),
        "unfinished": indexing.is_unfinished(),
    }


def index_lines(answer: dict[str, Any]) -> Iterator[str]:
    """What the index holds, in words."""
    size = f"{answer['bytes'] / 2**20:,.1f} MiB" if answer["bytes"] else "not there yet"
    yield f"index {answer['path']}: {size}"
    for name, held in answer["sources"].items():
        due = f", {held['due']:,} to be asked again" if held["due"] else ""
        yield f"  {name}: {held['found']:,} found, {held['absent']:,} not found{due}"
    if answer["files"]:
        yield f"  {answer['files']:,} files of snapshots, the last on {answer['last_file']}"
    if answer["unfinished"]:
        yield "  an index run was cut off: the same command completes it"


def _tell(summary: "Summary", index: Index, *, as_json: bool) -> None:
    outcomes = summary.outcomes
    totals = {name: sum(getattr(one, name) for one in outcomes) for name in COUNTS}
    for one in outcomes:
        for rejection in one.rejections[: console.SHOWN_REJECTIONS if len(outcomes) == 1 else 1]:
            console.print_rejection(rejection)
        if words := one.trouble or one.passed:
            console.say(f"{one.part.name}: {words}", err=True)
    if summary.passed:
        names = ", ".join(path.name for path in summary.passed[:SHOWN_PASSED])
        more = len(summary.passed) - SHOWN_PASSED
        tail = f" and {more:,} more" if more > 0 else ""
        console.say(f"passed over, for their names: {names}{tail}", err=True)
    answer = {"files": len(outcomes), "before": summary.before, **totals}
    words = (
        f"{len(outcomes):,} files read ({summary.before:,} were done before): {totals['read']:,} "
        f"records = kept {totals['kept']:,} + no DOI {totals['without_doi']:,} + "
        f"nothing but a DOI {totals['bare']:,} + not wanted {totals['unwanted']:,} + rejected "
        f"{totals['rejected']:,}; {index.path}"
    )
    console.say_answer(answer, words, as_json=as_json)


def _described(entry: Entry) -> dict[str, Any]:
    document = entry.document
    return {
        "source": entry.source,
        "found": document is not None,
        **(document.metadata if document else {}),
        "dated": _time(entry.dated) if entry.dated > 0 else None,
        "since": _time(entry.kept),
        "until": _time(entry.until) if entry.until is not None else None,
    }


def _lines(entry: Entry) -> Iterable[str]:
    facts = _described(entry)
    until = f"until {facts['until']}" if facts["until"] else "for good"
    dated = f", its record of {facts['dated']}" if facts["dated"] else ""
    if entry.document is None:
        yield f"  {entry.source}: not found; known since {facts['since']}, {until}"
        return
    yield f"  {entry.source}: found{dated}; known since {facts['since']}, {until}"
    for name, value in entry.document.metadata.items():
        yield f"    {name}: {value}"
    if not entry.document.title:
        yield "    it has no title there"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
