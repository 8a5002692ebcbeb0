"""The commands of doi-trainer that keep the model fresh: refine, schedule, run, history."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from schemas.evaluation import EvalReport
from trainer.alone import REFINING, alone
from trainer.bootstrap import make_refine, open_stores
from trainer.cli import show_life as shown
from trainer.cli.options import full_option, plot_option
from trainer.cli.show import SHORT
from trainer.cli.stopping import told_to_stop
from trainer.history import History, Reign
from trainer.records import read_reports
from trainer.refinement.pending import Wishes
from trainer.training import recipe
from worker.cli.options import Group, as_json
from worker.errors import ConfigurationError, ModelError
from worker.files import locked
from worker.settings.environment import Settings, read_settings

life = Group("life")
loglevel_option = click.option(
    "--loglevel", help="Least severe level logged, in place of DOIVEC_LOG__LEVEL."
)


@life.example("doi-trainer refine --recipe title --from live")
@click.option(
    "--recipe", help="A recipe's name, or a .toml file; DOIVEC_REFINE__RECIPE unless set."
)
@click.option(
    "--from", "parent", help="base, live, or a version; DOIVEC_REFINE__PARENT unless set."
)
@click.option(
    "--allow-missing/--no-allow-missing",
    default=None,
    help="Promote a model too that can't read some records; DOIVEC_REFINE__ALLOW_MISSING unless "
    "set.",
)
@click.option("--force", is_flag=True, help="Run again what has led to an end already.")
@full_option
@as_json
def refine(as_json: bool, full: bool, force: bool, **wishes: Any) -> int:
    """Train from all pairs, evaluate, ask the gate, and promote a model that is better.

    It ends well, too, where nothing is new since the last time, or the gate says no. Interrupted,
    the same command goes on from where it was. One runs at a time.
    """
    settings = read_settings()
    asked = Wishes.of(settings.refine, force=force, **wishes)
    recipe.load(asked.recipe)  # a wrong name is told before torch is imported
    with alone(settings, REFINING) as check, told_to_stop() as told:
        made = make_refine(settings, watcher=shown.Screen(), told_to_stop=told, check=check)
        entry = made.run(asked)
    shown.refined(entry, full=full, as_json=as_json)
    return 0


@life.example("DOIVEC_SCHEDULE__REFINE='0 3 * * sun' doi-trainer schedule")
@loglevel_option
def schedule(loglevel: str | None) -> int:
    """Ask for a refine whenever DOIVEC_SCHEDULE__REFINE says so, until told to stop.

    This is Celery beat. It does no work itself: a `doi-trainer run` does. Two of them harm
    nothing: what is due runs once.
    """
    settings = _with_servers()
    from trainer.refinement.slots import Slots  # noqa: PLC0415 - imports Celery
    from trainer.tasks import app, start_beat  # noqa: PLC0415 - its options need the URL

    # Beat's schedule is unpickled for the current application; without one, Celery would make its
    # default one, and look for its configuration in the current folder.
    app.set_default()
    shown.caution(Slots(settings.schedule).caution)
    with locked(settings.data_dir / "trainer" / "beat" / "schedule.lock"):
        start_beat(settings, level=loglevel)
    return 0


@life.example("DOIVEC_REDIS__URL=redis://queue:6379/0 doi-trainer run")
@loglevel_option
def run(loglevel: str | None) -> int:
    """Be the trainer's worker until told to stop: carry out the refines that are asked for.

    Told to stop, it ends at the next step of what is under way; it, or another one, goes on.
    """
    level = loglevel or _with_servers().log.level
    from trainer.tasks import app  # noqa: PLC0415 - its options need the URL

    options = ("--loglevel", level, "--without-gossip", "--without-mingle")
    app.worker_main(["--quiet", "worker", *options])
    return 0


@life.example("doi-trainer history --plot life.png")
@plot_option("Draw the figures of each live version over time, with all switches (PNG).")
@as_json
def history(plot: Path | None, as_json: bool) -> int:
    """List what ran, when, how long and what came of it, newest first.

    Refines, promotions, rollbacks and prunes that have ended; what was interrupted goes on with
    the same command.
    """
    settings = read_settings()
    found = History.below(settings.data_dir)
    if plot:
        _draw(found.reigns(), settings, plot)
    shown.history(found.entries()[::-1], as_json=as_json)
    return 0


def _draw(reigns: Sequence[Reign], settings: Settings, path: Path) -> None:
    if not reigns:
        shown.caution(f"no version was made live by promotion yet: {path} is not drawn")
        return
    from trainer.card.timeline import timeline  # noqa: PLC0415 - imports matplotlib

    registry, reports = open_stores(settings).registry, dict[str, EvalReport]()
    for reign in reigns:
        with suppress(ModelError):  # pruned
            if found := read_reports(registry.look(reign.version)[0]):
                reports[reign.version] = found[0]
    timeline(reigns, reports, path, now=datetime.now(UTC))
    lacking = dict.fromkeys(reign.version for reign in reigns if reign.version not in reports)
    if lacking:
        names = ", ".join(version[:SHORT] for version in lacking)
        shown.caution(f"drawn without figures, for they were not evaluated or are gone: {names}")


def _with_servers() -> Settings:
    settings = read_settings()
    if settings.redis.url is None:
        raise ConfigurationError(
            "this needs servers: set DOIVEC_REDIS__URL; without them, let cron call "
            "`doi-trainer refine`"
        )
    return settings
