"""The command of doi-trainer that gives a model other templates."""

import json
import re

import click

from schemas.model import ModelVersion
from trainer.bootstrap import live_version, open_stores
from trainer.cli.show import SHORT
from trainer.errors import PromotionRefused
from worker.cli.console import out, say_json
from worker.cli.options import Group, as_json
from worker.model.origin import resolve_source
from worker.model.registry import Registry
from worker.settings.environment import read_settings

VERSION = re.compile("[0-9a-f]+")
reading = Group("reading")


def _templates(_context: click.Context, _argument: click.Parameter, text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise click.BadParameter('a JSON list is expected, such as \'["{title}", "{doi}"]\'')
    return tuple(found)


@reading.example("""doi-trainer template '["{title}. {abstract}", "{title}", "{doi}"]'""")
@click.argument("templates", callback=_templates)
@click.option(
    "--of",
    "model",
    metavar="VERSION",
    help="Whose weights: a version, or a model as DOIVEC_MODEL__NAME names it, such as base; "
    "the live version's unless set.",
)
@as_json
def template(templates: tuple[str, ...], model: str | None, as_json: bool) -> int:
    """Register the live model's weights under other TEMPLATES, a JSON list, and print the version.

    Nothing is trained, and nothing is live before the version is promoted. A record is read by the
    first template whose fields it has: {doi}, {title}, {abstract}, {year}, {venue}.
    """
    settings = read_settings()
    live = live_version(settings)
    registry = open_stores(settings).registry
    made = _register(registry, model or live, templates=templates)
    if as_json:
        say_json({"version": made.version, "templates": made.templates, "name": made.name})
        return 0
    out.print(made.version)
    if live and made.version.startswith(live):
        out.print("the live version reads by these templates already")
    else:
        out.print(f"to make it the live one: doi-trainer promote {made.version[:SHORT]}")
    return 0


def _register(registry: Registry, model: str | None, *, templates: tuple[str, ...]) -> ModelVersion:
    if model is None:
        raise PromotionRefused(
            "nothing is ingested yet: DOIVEC_MODEL__TEMPLATES says how the first collection reads; "
            "or name a version with --of"
        )
    if VERSION.fullmatch(model):
        return registry.retemplate(model, templates=templates)
    return registry.register(resolve_source(model), name=model, templates=templates)
