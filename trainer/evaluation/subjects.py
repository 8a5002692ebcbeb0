"""What is evaluated: versions, the base model, baselines; and what the guards are anchored to."""

import logging
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from schemas.training import TrainingRecord
from trainer.evaluation.baselines import Prefix, Trigrams
from trainer.evaluation.evaluate import Encoder
from trainer.history import History
from trainer.records import Run
from trainer.stores import Stores
from trainer.training import provenance
from worker.errors import ModelError
from worker.model.embedder import Embedder
from worker.model.origin import BASE, resolve_source
from worker.model.registry import identify

log = logging.getLogger(__name__)


class Subject(NamedTuple):
    """What is evaluated: its id and name, the templates it reads by, how it is loaded.

    `strangers` are weights in its lineage of which nobody knows what they were trained on.
    """

    id: str
    name: str
    templates: tuple[str, ...]
    load: Callable[[], Encoder]
    runs: tuple[Run, ...] = ()
    path: Path | None = None
    strangers: frozenset[str] = frozenset()

    @property
    def records(self) -> list[TrainingRecord]:
        """The provenance of each run that made it, the last one last."""
        return [run.record for run in self.runs]


def version_subject(stores: Stores, version: str) -> Subject:
    """A registered version, by its id or a prefix; raises `ModelError`."""
    path, manifest = stores.registry.get(version)
    embed = stores.settings.embed

    def load() -> Encoder:
        embedder = Embedder.load(
            path, device=embed.device, dtype=embed.dtype, threads=embed.threads
        )
        embedder.check_canaries(manifest)
        return embedder

    runs = provenance.runs_of(stores, path, manifest)
    name = runs[-1].record.name if runs else manifest.name
    strangers = provenance.strangers(stores, manifest.version)
    return Subject(manifest.version, name, manifest.templates, load, runs, path, strangers)


def find(stores: Stores, name: str) -> Subject:
    """The version of this name or prefix; `base` reads as the settings say. Raises `ModelError`."""
    if name == BASE:
        return base_subject(stores, stores.settings.model.templates)
    return version_subject(stores, name)


def opponents(stores: Stores, champion: str, challenger: str) -> tuple[Subject, Subject]:
    """Two subjects; one that is `base` reads the texts that the other one reads."""
    names = (champion, challenger)
    known = {name: version_subject(stores, name) for name in names if name != BASE}
    templates = next(
        (subject.templates for subject in known.values()), stores.settings.model.templates
    )
    first, second = (known.get(name) or base_subject(stores, templates) for name in names)
    return first, second


def base_subject(stores: Stores, templates: tuple[str, ...]) -> Subject:
    """The base model, reading by these templates."""
    path, embed = resolve_source(BASE), stores.settings.embed
    return Subject(
        identify(path, templates=templates),
        BASE,
        templates,
        lambda: Embedder.load(path, device=embed.device, dtype=embed.dtype, threads=embed.threads),
    )


def baselines(stores: Stores, templates: tuple[str, ...]) -> tuple[Subject, ...]:
    """What stands beside a model that reads by `templates`: base model, trigrams, prefix."""
    return (
        base_subject(stores, templates),
        Subject(f"trigrams-{texts_digest(templates)}", "trigrams", templates, Trigrams),
        Subject("prefix", "prefix", Prefix.templates, Prefix),
    )


def anchors(stores: Stores, champion: Subject, challenger: Subject) -> Iterator[Subject]:
    """What the guards hold against besides the champion: the base model, earlier champions.

    The base model reads the challenger's texts. Earlier champions are the versions that were
    live, as the history knows, and were not rolled back; one that was pruned is no longer known.
    """
    met = {champion.id, challenger.id}
    base = base_subject(stores, challenger.templates)
    if base.id not in met:
        yield base
    for version in History.below(stores.settings.data_dir).champions():
        try:
            if version not in met:
                yield version_subject(stores, version)
        except ModelError as error:
            log.info("%s is no anchor: %s", version[:12], error)


def texts_digest(templates: Sequence[str]) -> str:
    """A short name for what these templates read (hexadecimal)."""
    return sha256("\0".join(templates).encode()).hexdigest()[:16]
