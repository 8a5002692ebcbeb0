"""Commands on what the collection holds."""

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import click

from schemas.doi import normalize, point_id
from worker import bootstrap
from worker.cli import console, details
from worker.cli.lists import Dois
from worker.cli.options import Group, as_json, in_a_folder
from worker.cli.program import EXIT_LOSSES
from worker.cli.progress import counted
from worker.cli.sources import source_options
from worker.contents import Lack
from worker.embedded.owner import refuse_any_owner
from worker.settings.environment import read_settings
from worker.sources.options import SourceOptions
from worker.sources.parsing import attempt
from worker.sources.streams import STANDARD_INPUT

commands = Group("commands")
JSON_LINES, PARQUET = "jsonl", "parquet"
SUFFIXES = {".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".parquet": PARQUET}


def _to_be_written(
    context: click.Context, option: click.Parameter, path: Path | None
) -> Path | None:
    """The file itself, where it can be written; None for standard output."""
    if path is None or str(path) == STANDARD_INPUT:
        return None
    if path.exists() and not path.is_file():
        raise click.BadParameter(f"{path} is no regular file; - is standard output")
    # What a link leads to is replaced, not the link.
    return in_a_folder(context, option, path.resolve())


@commands.example("doi-worker adopt")
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
        console.say_answer(
            made._asdict(), f"deployment {made.id}: {made.alias}, {has}", as_json=as_json
        )
        return 0


@commands.example("doi-worker delete 10.1038/s41586-020-2649-2 withdrawn.txt")
@click.argument("sources", nargs=-1, required=True, metavar="DOI|SOURCE...")
@source_options
@as_json
def delete(sources: tuple[str, ...], options: SourceOptions, as_json: bool) -> int:
    """Remove DOIs from the collection, for good: late messages don't bring them back.

    SOURCE is a file as `ingest` reads it, or - for standard input. What wasn't there is named, and
    kept away all the same. The exit code is 3 where a source had lines without a DOI.
    """
    settings = read_settings()
    dois = Dois(sources, limits=settings.limits, options=options)
    absent: list[str] = []
    count, is_done = 0, True
    with bootstrap.connect(settings, command="delete") as client:
        told = counted(dois, "deleting", unit="DOIs")
        for doi, was_there in bootstrap.delete(client, told):
            count += 1  # here a DOI that is given twice comes once
            is_done = was_there is not None
            if was_there is False:
                absent.append(doi)
                if not as_json:
                    console.say(f"{doi} was not there")
    dois.rejected.tell()
    answer = {"dois": count, "invalid": dois.rejected.count}
    _tell_deleted(answer, absent, is_done=is_done, as_json=as_json)
    return EXIT_LOSSES if dois.rejected.count else 0


def _tell_deleted(
    answer: dict[str, Any], absent: list[str], *, is_done: bool, as_json: bool
) -> None:
    there = answer["dois"] - len(absent)
    words = f"{there:,} DOIs removed, {len(absent):,} were not there"
    if not is_done:
        words = f"{there:,} DOIs will be removed with the running worker's next sweep"
    what = {"there": there, "absent": absent} if is_done else {"there": None, "absent": None}
    console.say_answer(answer | {"removed": is_done, **what}, words, as_json=as_json)


@commands.example("doi-worker missing references.csv")
@click.argument("sources", nargs=-1, required=True, metavar="DOI|SOURCE...")
@source_options
@as_json
def missing(sources: tuple[str, ...], options: SourceOptions, as_json: bool) -> int:
    """Print which DOIs of a list the collection lacks, or has without a title.

    SOURCE is a file as `ingest` reads it, or - for standard input. A line for each: the DOI,
    and `absent` or `no title`. The exit code is 3 where there was one, or a line without a
    DOI; 0 where nothing is missing.
    """
    settings = read_settings()
    dois = Dois(sources, limits=settings.limits, options=options)
    lacking: Counter[Lack] = Counter()
    with bootstrap.open_contents(settings) as contents:
        for doi, lack in contents.missing(counted(dois, "looking up", unit="DOIs")):
            lacking[lack] += 1
            console.say_answer({"doi": doi, "lacks": lack}, f"{doi}  {lack}", as_json=as_json)
    counts = ", ".join(f"{lacking[lack]:,} {lack}" for lack in Lack)
    dois.rejected.tell()
    console.say(f"of {dois.count:,} DOIs: {counts}", err=True)
    return EXIT_LOSSES if lacking or dois.rejected.count else 0


@commands.example("doi-worker show 10.1038/s41586-020-2649-2")
@click.argument("doi")
@as_json
def show(doi: str, as_json: bool) -> int:
    """Show all that is known of a DOI: its fields and where each came from, and what became of it.

    That is what the live collection has beside its vector, what the vector was made of and by
    which model, other collections that have it, its deletion, and its dead letters. The exit code
    is 3 where the live collection doesn't have it.
    """
    settings = read_settings()
    canonical = attempt(normalize, doi)
    with bootstrap.connect(settings, command="show") as client:
        deleted = client.ledger.buried([point_id(canonical)]).get(point_id(canonical))
        letters = client.ledger.letters(canonical)
        with bootstrap.open_contents(settings) as contents:
            known = contents.look(canonical)
    if as_json:
        details.say_json(canonical, known, deleted=deleted, letters=letters)
    else:
        details.print_known(canonical, known, deleted=deleted, letters=letters)
    return 0 if known.payload is not None else EXIT_LOSSES


@commands.example("doi-worker export papers.parquet --vectors")
@click.argument(
    "file", required=False, callback=_to_be_written, type=click.Path(path_type=Path, dir_okay=False)
)
@click.option(
    "--format",
    "form",
    type=click.Choice([JSON_LINES, PARQUET]),
    help="What to write, where the file's suffix doesn't say it; standard output is jsonl.",
)
@click.option("--vectors", is_flag=True, help="Write the vectors too.")
def export(file: Path | None, form: str | None, vectors: bool) -> int:
    """Write all records of the collection to FILE, .jsonl or .parquet, or to standard output.

    A record has all that is kept beside its vector; `doi-worker ingest` reads the .jsonl. FILE is
    there in whole or, where the export is cut off, as it was before. Records that are written
    meanwhile may or may not be in it.
    """
    form = form or _form_of(file)
    if file is None and form != JSON_LINES:
        raise click.UsageError(f"{form} needs a FILE")
    from worker import export as exports  # noqa: PLC0415 - loads pyarrow

    with bootstrap.open_contents(read_settings()) as contents:
        pages = contents.records(vectors=vectors)
        records = counted(pages, "exporting", unit="records", size=len)
        if file is None:
            for record in chain.from_iterable(records):
                console.say(exports.line(record))
            return 0
        count = exports.write(records, file, form=form, vectors=vectors)
    console.say(f"{count:,} records of {contents.collection} written to {file}", err=True)
    return 0


def _form_of(file: Path | None) -> str:
    if file is None:
        return JSON_LINES
    form = SUFFIXES.get(file.suffix.lower())
    if form is None:
        known = " or ".join(SUFFIXES)
        raise click.UsageError(f"{file} ends in none of {known}: say --format")
    return form
