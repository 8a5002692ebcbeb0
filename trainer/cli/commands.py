"""doi-trainer: labelled pairs become a better, accountable model."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from schemas.evaluation import EvalReport, Verdict
from schemas.job import Rejection
from trainer.bootstrap import open_stores
from trainer.card.lineage import kept_words
from trainer.cli import data as data_cli
from trainer.cli import promote as promote_cli
from trainer.cli import schedule as schedule_cli
from trainer.cli import show as shown
from trainer.cli import show_life as shown_life
from trainer.cli import template as template_cli
from trainer.cli.options import full_option, plot_option
from trainer.cli.progress import Steps, Texts
from trainer.cli.stopping import told_to_stop
from trainer.data.held_out import HeldOutSet
from trainer.errors import TrainerError, TrainingInterrupted
from trainer.records import Version, read_record
from trainer.stores import Stores
from trainer.training import recipe as recipes
from worker.cli import program
from worker.cli.console import print_rejection
from worker.cli.options import Group, as_json
from worker.cli.program import EXIT_LOSSES
from worker.errors import WorkerError
from worker.model.origin import BASE
from worker.settings.environment import read_settings

if TYPE_CHECKING:
    from trainer.evaluation.own_queries import Choice

EXIT_REFUSED = 4
held_out_option = click.option(
    "--on", "held_out", help="A held-out set, or the dataset it is of; the last one unless set."
)


@click.group(cls=Group)
@click.version_option(package_name="doivec")
def cli() -> None:
    """Turn labelled pairs of DOIs into a better model, and say how much better.

    Exit codes: 0 all went well; 3 done, but with rejected lines; 4 `compare`: the gate refuses;
    1 failed; 2 wrong usage; 130 interrupted.
    """


cli.add_command(data_cli.pairs)
cli.add_command(data_cli.metadata)
cli.add_command(schedule_cli.refine)
cli.add_command(template_cli.template)
cli.add_command(promote_cli.promote)
cli.add_command(promote_cli.rollback)
cli.add_command(promote_cli.prune)
cli.add_command(schedule_cli.schedule)
cli.add_command(schedule_cli.run)
cli.add_command(schedule_cli.history)


@cli.example("doi-trainer train --recipe title --set num_train_epochs=2")
@data_cli.recipe_option
@click.option("--from", "parent", default=BASE, show_default=True, help="base, or a version.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override the recipe.")
@click.option("--pairs", "shards", multiple=True, metavar="SHARD", help="Train on these only.")
@full_option
@as_json
def train(
    recipe: str,
    parent: str,
    overrides: tuple[str, ...],
    shards: tuple[str, ...],
    full: bool,
    as_json: bool,
) -> int:
    """Train a model by a recipe, register it as a version, evaluate it, write its model card.

    Interrupted, the same command goes on from the last checkpoint.
    """
    wanted = recipes.load(recipe, overrides=overrides)  # a wrong name is told before the imports
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch and the Trainer
    from trainer.training import runs  # noqa: PLC0415 - imports torch and the Trainer

    stores = open_stores(read_settings())
    plan = runs.plan(stores, wanted, parent=parent, shards=shards)
    shown.plan(plan)
    with told_to_stop() as should_stop, Steps(plan.recipe.name) as steps:
        version = runs.train(stores, plan, on_step=steps.show, should_stop=should_stop)
    subject = subjects.version_subject(stores, version)
    with Texts("evaluating") as texts:
        reports = assessment.write_card(
            stores, subject, stores.held_out.load(plan.held_out).at_hand(), on_progress=texts.show
        )
    path = stores.registry.get(version)[0]
    record = read_record(path)
    kept = kept_words(record) if record else None
    shown.trained(version, path, reports, kept=kept, full=full, as_json=as_json)
    return 0


@cli.example("doi-trainer evaluate base 3f2a9c01 --json")
@click.argument("versions", nargs=-1, required=True, metavar="VERSION...")
@held_out_option
@click.option(
    "--queries",
    metavar="FILE",
    help="Your own queries too: rows with a doi or a text, and the relevant DOIs.",
)
@full_option
@as_json
def evaluate(
    versions: tuple[str, ...], held_out: str | None, queries: str | None, full: bool, as_json: bool
) -> int:
    """Evaluate versions on held-out pairs, beside the baselines that read the same texts.

    VERSION is an id or its beginning, or base, which reads by DOIVEC_MODEL__TEMPLATES. The rows
    of --queries are searched for among the documents of the held-out set and their own, with what
    `doi-trainer metadata import` knows of them; the exit code is 3 where a row is no query.
    """
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch

    stores = open_stores(read_settings())
    found = stores.held_out.load(held_out).at_hand()
    own, rejected = _own(stores, found, queries) if queries else (None, [])
    reports: dict[str, EvalReport] = {}
    with Texts("evaluating") as texts:
        for version in versions:
            subject = subjects.find(stores, version)
            for one in (subject, *subjects.baselines(stores, subject.templates)):
                if one.id in reports:
                    continue
                reports[one.id] = assessment.assess(stores, one, found, on_progress=texts.show)
                if own:
                    reports[one.id] = assessment.ask(
                        stores, one, reports[one.id], own, on_progress=texts.show
                    )
    shown_life.caution(assessment.wear(stores, found, now=datetime.now(UTC)))
    shown.evaluated(list(reports.values()), full=full, as_json=as_json)
    return EXIT_LOSSES if rejected else 0


@cli.example("doi-trainer compare base 3f2a9c01 77b0c4de --plot compared.png")
@click.argument("champion")
@click.argument("challengers", nargs=-1, required=True, metavar="CHALLENGER...")
@held_out_option
@plot_option("Draw the differences, all challengers in one picture (PNG).")
@full_option
@as_json
def compare(
    champion: str,
    challengers: tuple[str, ...],
    held_out: str | None,
    plot: Path | None,
    full: bool,
    as_json: bool,
) -> int:
    """Ask the gate whether CHALLENGER may replace CHAMPION; exits with 0 for yes, 4 for no.

    Each is a version, or base: the base model, reading the texts that the other one reads. Of
    several challengers each is asked for by itself; it exits with 4 where the gate refuses one.
    """
    from trainer.evaluation import assessment, subjects  # noqa: PLC0415 - imports torch

    settings = read_settings()
    stores = open_stores(settings)
    found, verdicts = stores.held_out.load(held_out).at_hand(), dict[str, Verdict]()
    with Texts("comparing") as texts:
        for challenger in challengers:
            first, second = subjects.opponents(stores, champion, challenger)
            verdicts[f"{second.name} {second.id[:8]}"] = assessment.compare(
                stores, first, second, found, rules=settings.gate, on_progress=texts.show
            )
    shown_life.caution(assessment.wear(stores, found, now=datetime.now(UTC)))
    if plot:
        from trainer.card import plots  # noqa: PLC0415 - imports matplotlib

        plots.differences(verdicts, plot)
    shown.verdicts(list(verdicts.values()), full=full, as_json=as_json)
    return 0 if all(verdict.promote for verdict in verdicts.values()) else EXIT_REFUSED


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


@cli.example("doi-trainer push 3f2a9c01 /srv/models/dois")
@click.argument("version")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--hub", metavar="OWNER/NAME", help="A repository of the Hugging Face Hub.")
@click.option("--public", is_flag=True, help="A new repository may be read by everybody.")
@as_json
def push(version: str, directory: Path | None, hub: str | None, public: bool, as_json: bool) -> int:
    """Copy VERSION with its model card to DIRECTORY, a new one, or to a hub.

    What is there loads with plain SentenceTransformer(DIRECTORY), or with the repository's name.
    With --hub it is committed there by huggingface_hub, whose HF_TOKEN and HF_ENDPOINT count. A
    new repository is private; one that is there must hold a version or nothing, and what this
    one lacks goes. Nothing else in doivec sends a model anywhere.
    """
    from trainer.card import push as pushing  # noqa: PLC0415 - imports huggingface_hub

    if (directory is None) == (hub is None) or (public and not hub):
        raise click.UsageError("give a DIRECTORY, or --hub OWNER/NAME (and with it --public)")
    path, manifest = open_stores(read_settings()).registry.get(version)
    if hub is not None:
        place = pushing.upload(path, hub, is_public=public)
    elif directory is not None:
        pushing.push(path, directory)
        place = str(directory)
    shown.pushed(manifest.version, place, as_json=as_json)
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


def _own(stores: Stores, found: HeldOutSet, source: str) -> tuple["Choice", list[Rejection]]:
    from trainer.evaluation import own_queries  # noqa: PLC0415 - imports numpy

    asked, rejected = own_queries.read(source, limits=stores.settings.limits)
    for rejection in rejected:
        print_rejection(rejection)
    known = stores.metadata.documents(own_queries.dois_of(asked))
    return own_queries.choose(asked, found, known, source=source), rejected


def _versions(stores: Stores) -> Iterator[Version]:
    for version in stores.registry.versions():
        yield Version.read(*stores.registry.look(version))
