"""doi-trainer: labelled pairs become a better, accountable model."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from schemas.evaluation import EvalReport
from schemas.job import Rejection
from trainer.bootstrap import open_stores
from trainer.cli import promote as promote_cli
from trainer.cli import schedule as schedule_cli
from trainer.cli import show as shown
from trainer.cli import show_life as shown_life
from trainer.cli import template as template_cli
from trainer.cli.progress import Steps, Texts
from trainer.cli.stopping import told_to_stop
from trainer.data import split
from trainer.errors import TrainerError, TrainingInterrupted
from trainer.records import Version
from trainer.stores import Stores
from trainer.training import judging
from trainer.training import recipe as recipes
from worker.cli import program
from worker.cli.options import Group, as_json, rejects_file, spare_sources
from worker.cli.program import EXIT_LOSSES
from worker.cli.sources import source_options
from worker.errors import WorkerError
from worker.model.origin import BASE
from worker.settings import read_settings
from worker.sources.options import SourceOptions

EXIT_REFUSED = 4
files_argument = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", callback=spare_sources
)
recipe_option = click.option(
    "--recipe", default="seed", show_default=True, help="A recipe's name, or a .toml file."
)
held_out_option = click.option(
    "--on", "held_out", help="A held-out set, or the dataset it is of; the last one unless set."
)


@click.group(cls=Group)
@click.version_option(package_name="doivec")
def cli() -> None:
    """Turn labelled pairs of DOIs into a better model, and say how much better.

    Exit codes: 0 all went well; 3 imported, but with rejected lines; 4 `compare`: the gate refuses;
    1 failed; 2 wrong usage; 130 interrupted.
    """


pairs = Group("pairs", help="The store of labelled pairs.")
metadata = Group("metadata", help="What is known of DOIs: titles, abstracts, years, venues.")
cli.add_command(pairs)
cli.add_command(metadata)
cli.add_command(schedule_cli.refine)
cli.add_command(template_cli.template)
cli.add_command(promote_cli.promote)
cli.add_command(promote_cli.rollback)
cli.add_command(promote_cli.prune)
cli.add_command(schedule_cli.schedule)
cli.add_command(schedule_cli.run)
cli.add_command(schedule_cli.history)


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
    labels, label 1 counts.
    """
    report = open_stores(read_settings()).pairs.import_files(files, options, dry_run=dry_run)
    _keep(report.rejected, rejects)
    shown.pairs_report(report, dry_run=dry_run, as_json=as_json)
    return EXIT_LOSSES if report.rejected else 0


@pairs.example("doi-trainer pairs stats --recipe title", name="stats")
@recipe_option
@as_json
def pairs_stats(recipe: str, as_json: bool) -> int:
    """Count pairs, labels, sources and groups, and the tokens of the texts of a recipe."""
    from trainer.data import stats  # noqa: PLC0415 - loads a tokenizer

    stores = open_stores(read_settings())
    found = stats.of(stores.pairs, stores.metadata, recipes.load(recipe).templates)
    shown.stats(found, as_json=as_json)
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
    """Take records of DOIs in, for the templates of recipes; read as by `doi-worker ingest`."""
    report = open_stores(read_settings()).metadata.import_files(files, options)
    _keep(report.rejected, rejects)
    shown.metadata_report(report, as_json=as_json)
    return EXIT_LOSSES if report.rejected else 0


@cli.example("doi-trainer train --recipe title --set num_train_epochs=2")
@recipe_option
@click.option("--from", "parent", default=BASE, show_default=True, help="base, or a version.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override the recipe.")
@click.option("--pairs", "shards", multiple=True, metavar="SHARD", help="Train on these only.")
@as_json
def train(
    recipe: str, parent: str, overrides: tuple[str, ...], shards: tuple[str, ...], as_json: bool
) -> int:
    """Train a model by a recipe, register it as a version, evaluate it, write its model card.

    Interrupted, the same command goes on from the last checkpoint.
    """
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch and the Trainer
    from trainer.training import runs  # noqa: PLC0415 - imports torch and the Trainer

    stores = open_stores(read_settings())
    plan = runs.plan(
        stores, recipes.load(recipe, overrides=overrides), parent=parent, shards=shards
    )
    shown.plan(plan)
    with told_to_stop() as should_stop, Steps(plan.recipe.name) as steps:
        version = runs.train(stores, plan, on_step=steps.show, should_stop=should_stop)
    subject = subjects.version_subject(stores, version)
    with Texts("evaluating") as texts:
        reports = assessment.write_card(
            stores, subject, stores.held_out.load(plan.held_out), on_progress=texts.show
        )
    shown.trained(version, stores.registry.get(version)[0], reports, as_json=as_json)
    return 0


@cli.example("doi-trainer evaluate base 3f2a9c01 --json")
@click.argument("versions", nargs=-1, required=True, metavar="VERSION...")
@held_out_option
@as_json
def evaluate(versions: tuple[str, ...], held_out: str | None, as_json: bool) -> int:
    """Evaluate versions on held-out pairs, beside the baselines that read the same texts.

    VERSION is an id or its beginning, or base, which reads by DOIVEC_MODEL__TEMPLATES.
    """
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch

    stores = open_stores(read_settings())
    found = stores.held_out.load(held_out)
    reports: dict[str, EvalReport] = {}
    with Texts("evaluating") as texts:
        for version in versions:
            subject = subjects.find(stores, version)
            for one in (subject, *subjects.baselines(stores, subject.templates)):
                reports[one.id] = assessment.assess(stores, one, found, on_progress=texts.show)
    shown_life.caution(assessment.wear(stores, found, now=datetime.now(UTC)))
    shown.reports(list(reports.values()), as_json=as_json)
    return 0


@cli.example("doi-trainer compare base 3f2a9c01")
@click.argument("champion")
@click.argument("challenger")
@held_out_option
@as_json
def compare(champion: str, challenger: str, held_out: str | None, as_json: bool) -> int:
    """Ask the gate whether CHALLENGER may replace CHAMPION; exits with 0 for yes, 4 for no.

    Each is a version, or base: the base model, reading the texts that the other one reads.
    """
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch

    settings = read_settings()
    stores = open_stores(settings)
    first, second = subjects.opponents(stores, champion, challenger)
    found = stores.held_out.load(held_out)
    with Texts("comparing") as texts:
        verdict = assessment.compare(
            stores, first, second, found, rules=settings.gate, on_progress=texts.show
        )
    shown_life.caution(assessment.wear(stores, found, now=datetime.now(UTC)))
    shown.verdict(verdict, as_json=as_json)
    return 0 if verdict.promote else EXIT_REFUSED


@cli.example("doi-trainer versions")
@as_json
def versions(as_json: bool) -> int:
    """List the registered versions."""
    shown.versions(_versions(open_stores(read_settings())), as_json=as_json)
    return 0


@cli.example("doi-trainer show 3f2a9c01")
@click.argument("version")
@as_json
def show(version: str, as_json: bool) -> int:
    """Show where a version comes from: recipe, data, run, figures, files with their hashes."""
    stores = open_stores(read_settings())
    path, manifest = stores.registry.get(version)
    shown.version(Version.read(path, manifest), as_json=as_json)
    return 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `doi-trainer`; one clear line for each failure, no traceback."""
    program.run(
        cli,
        arguments,
        name="doi-trainer",
        failures=(TrainerError, WorkerError, OSError),
        interruptions=(TrainingInterrupted,),
    )


def _keep(rejections: Sequence[Rejection], path: Path | None) -> None:
    if path is not None:
        lines = (json.dumps(r._asdict(), ensure_ascii=False) + "\n" for r in rejections)
        path.write_text("".join(lines), "utf-8")


def _versions(stores: Stores) -> Iterator[Version]:
    for version in stores.registry.versions():
        yield Version.read(*stores.registry.look(version))
