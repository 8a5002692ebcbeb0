"""The commands of doi-trainer about what is learnt from: pairs, held-out sets, metadata."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from schemas.job import Rejection
from trainer.bootstrap import open_stores
from trainer.cli import show_data as shown
from trainer.cli.show_life import caution
from trainer.data import split
from trainer.training import judging
from trainer.training import recipe as recipes
from worker.cli.options import Group, as_json, rejects_file, spare_sources
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.settings.environment import read_settings
from worker.sources.options import SourceOptions

files_argument = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", callback=spare_sources
)
recipe_option = click.option(
    "--recipe", default="seed", show_default=True, help="A recipe's name, or a .toml file."
)
pairs = Group("pairs", help="The store of labelled pairs.")
metadata = Group("metadata", help="What is known of DOIs: titles, abstracts, years, venues.")


@pairs.example("doi-trainer pairs import pairs.csv.xz", name="import")
@files_argument
@click.option("--dry-run", is_flag=True, help="Report what the import would do; keep nothing.")
@rejects_file
@source_options
@as_json
def pairs_import(
    files: tuple[str, ...],
    dry_run: bool,
    rejects: Path | None,
    options: SourceOptions,
    as_json: bool,
) -> int:
    """Take labelled pairs in: columns doi_a, doi_b, label, and where known source and group.

    FILE is a table, JSON or Parquet, as `doi-worker ingest` reads it. All files of a call are
    one import, whole or not at all; what is there already adds nothing. Where a pair has both
    labels: of one source (what stands before the colon) the later import counts, so a wrong label
    is taken back by importing the right one; between sources, and within an import, label 1.
    """
    stores = open_stores(read_settings())
    report = stores.pairs.import_files(files, options, dry_run=dry_run)
    _keep(report.rejected, rejects)
    shown.pairs_report(report, dry_run=dry_run, as_json=as_json)
    if report.corrected and not dry_run:
        caution(judging.outdated(stores))
    return EXIT_LOSSES if report.rejected else 0


@pairs.example("doi-trainer pairs stats --recipe title", name="stats")
@recipe_option
@as_json
def pairs_stats(recipe: str, as_json: bool) -> int:
    """Count pairs, labels, sources and groups, and the tokens of the texts of a recipe."""
    templates = recipes.load(recipe).templates  # a wrong name is told before the import
    from trainer.data import stats  # noqa: PLC0415 - loads a tokenizer

    stores = open_stores(read_settings())
    found = stats.of(stores.pairs, stores.metadata, templates)
    shown.stats(found, as_json=as_json)
    return 0


@pairs.example("doi-trainer pairs list", name="list")
@as_json
def pairs_list(as_json: bool) -> int:
    """List the imports, each with its SHARD, how many pairs it added, and from which files."""
    shown.shards(open_stores(read_settings()).pairs.shards(), as_json=as_json)
    return 0


@pairs.example("doi-trainer pairs drop 3f2a9c01", name="drop")
@click.argument("shard")
@as_json
def pairs_drop(shard: str, as_json: bool) -> int:
    """Take an import back: its pairs train and test no more, its corrections hold no more.

    Pairs that later files only repeated were kept in this import alone: import those files again.
    The file stays, set aside, so that what was trained on it is still known.
    """
    stores = open_stores(read_settings())
    shown.dropped(stores.pairs.drop(shard), as_json=as_json)
    caution(judging.outdated(stores))
    return 0


@pairs.example("doi-trainer pairs hold-out --share 0.15 --keep 3f2a9c01", name="hold-out")
@click.option("--share", default=0.1, show_default=True, type=click.FloatRange(0, 1, min_open=True))
@click.option("--keep", multiple=True, metavar="SHARD", help="A shard whose pairs must all train.")
@click.option(
    "--corpus",
    default=50_000,
    show_default=True,
    type=click.IntRange(min=0),
    help="Other documents searched.",
)
@click.option(
    "--from",
    "begin",
    metavar="SET",
    help="Begin with this set, not with the last one; none: choose anew.",
)
@click.option(
    "--renew",
    is_flag=True,
    help="Test on fresh groups alone, which waited untrained since the last set was frozen.",
)
@as_json
def pairs_hold_out(
    share: float,
    keep: tuple[str, ...],
    corpus: int,
    begin: str | None,
    renew: bool,
    as_json: bool,
) -> int:
    """Freeze a held-out set: whole groups, on which no model trains from now on.

    Of each source a SHARE of the groups, at most half. What was held out stays so, and nothing is
    added that a version was trained on: it can be judged on the new set too. Training leaves out
    every pair that touches one of its DOIs. Of the groups that come later the same SHARE waits,
    untrained, for the next set. Without this command, the first training run freezes a tenth of
    all groups; a refine renews a set that is older than DOIVEC_PAIRS__RENEW_DAYS.
    """
    if renew and begin:
        raise click.UsageError("--renew begins with the set in force, not with --from")
    stores = open_stores(read_settings())
    found = judging.freeze(stores, share=share, keep=keep, begin=begin, corpus=corpus, renew=renew)
    spread = split.spread(stores.pairs.dataset().pairs, found)
    shown.held_out(found, spread, share=share, as_json=as_json)
    return 0


@metadata.example("doi-trainer metadata import metadata.jsonl.xz", name="import")
@files_argument
@rejects_file
@source_options
@as_json
def metadata_import(
    files: tuple[str, ...], rejects: Path | None, options: SourceOptions, as_json: bool
) -> int:
    """Take records of DOIs in, for the templates of recipes; read as by `doi-worker ingest`.

    What the live collection or the local index knows of the pairs' DOIs need not be given: a
    training run takes it in. What is imported here counts before that.
    """
    report = open_stores(read_settings()).metadata.import_files(files, options)
    _keep(report.rejected, rejects)
    shown.metadata_report(report, as_json=as_json)
    return EXIT_LOSSES if report.rejected else 0


def _keep(rejections: Sequence[Rejection], path: Path | None) -> None:
    if path is not None:
        lines = (json.dumps(r._asdict(), ensure_ascii=False) + "\n" for r in rejections)
        path.write_text("".join(lines), "utf-8")
