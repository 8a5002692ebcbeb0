"""Models from the registry: that of a collection, and that with which the first one is made."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from schemas.model import ModelVersion, collection_name, guard_alias
from worker.errors import ConfigurationError, ModelError, StoreUnavailable
from worker.ledger.ledger import Ledger
from worker.model.loaded import Deferred, Encoder, Target
from worker.model.origin import BASE, resolve_source
from worker.model.registry import Registry, identify
from worker.settings.embedding import ModelSettings
from worker.settings.environment import Settings
from worker.store.names import version_in
from worker.store.opening import look
from worker.store.protocol import VectorStore

if TYPE_CHECKING:
    from worker.model.embedder import Embedder


class Source(Protocol):
    """Where models come from."""

    def live(self, store: VectorStore, ledger: Ledger) -> str:
        """The live collection; where there is none yet, it is made."""

    def load(self, collection: str) -> Target:
        """A collection's own model, checked."""


class Registered:
    """Models from the registry below the data directory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = Registry(settings.data_dir / "models")

    def live(self, store: VectorStore, ledger: Ledger) -> str:
        """The live collection; the first one is made for the model that the settings name."""
        live = store.live(self._settings.collection)
        if live is None:
            with ledger.exclusive("first-collection", timeout_s=120):
                live = store.live(self._settings.collection) or self._make_first(store)
        return live

    def load(self, collection: str) -> Target:
        """The model of a collection, found by the version in its name; loaded and checked.

        Raises `ModelError` where it isn't in the registry, and `ConfigurationError`.
        """
        path, manifest = self.held(collection)
        embed = self._settings.embed

        def load() -> "Embedder":
            # Who asks which models there are loads none.
            from worker.model.embedder import Embedder  # noqa: PLC0415

            embedder = Embedder.load(
                path,
                device=embed.device,
                dtype=embed.dtype,
                threads=embed.threads or _threads(embed.workers_per_machine),
            )
            embedder.check_canaries(manifest)
            return embedder

        # A worker that ends with its command may find everything there already: it doesn't wait
        # for torch before it looks. One that stays says now whether its model is good.
        is_passing = self._settings.qdrant.url is None
        encoder: Encoder = Deferred(load) if is_passing else load()
        return Target(collection, manifest.templates, encoder)

    def held(self, collection: str) -> tuple[Path, ModelVersion]:
        """The directory and the manifest of a collection's model; raises `ModelError`."""
        version = version_in(self._settings.collection, collection)
        if not any(known.startswith(version) for known in self._registry.versions()):
            root = (self._settings.data_dir / "models").absolute()
            raise ModelError(
                f"the model of {collection} is not in {root}; this brings it from a machine that "
                f"has it: `rsync -a --mkpath 'HOST:DATA_DIR/models/{version}*' {root}/`"
            )
        return self._registry.get(version)

    def unheeded(self, live: str) -> str | None:
        """What the settings ask for and the live collection is not; None where it is all so.

        They are for a first collection. None, too, where its model is in another registry.
        """
        try:
            manifest = self._registry.look(version_in(self._settings.collection, live))[1]
        except ModelError:
            return None
        model = self._settings.model
        asked = {}
        if model.model_fields_set & {"name", "revision"} and _is_other(model, manifest):
            asked["NAME"] = _named(model)
        if "templates" in model.model_fields_set and model.templates != manifest.templates:
            asked["TEMPLATES"] = _json(model.templates)
        if not asked:
            return None
        templates = model.templates if "TEMPLATES" in asked else manifest.templates
        of = f" --of {shlex.quote(asked['NAME'])}" if "NAME" in asked else ""
        return (
            " and ".join(f"DOIVEC_MODEL__{name}={value}" for name, value in asked.items())
            + f" without effect: {live} is of the model {manifest.name}, {manifest.version[:12]}, "
            f"which reads by {_json(manifest.templates)}, and settings are for a first collection; "
            f"to change it: `doi-trainer template {shlex.quote(_json(templates))}{of}`, then "
            "`doi-trainer promote` the version that this prints"
        )

    def _make_first(self, store: VectorStore) -> str:
        model, alias = self._settings.model, self._settings.collection
        source = resolve_source(model.name, model.revision)
        version = self._registry.register(source, name=_named(model), templates=model.templates)
        collection = collection_name(alias, version.version)
        if others := [name for name in store.collections(alias) if name != collection]:
            raise ConfigurationError(
                f"there are collections ({', '.join(others)}) but no alias {alias!r}: point it, "
                "and its guard, at the one that was live (docs/operations/back-up.md)"
            )
        store.create(collection, dimension=version.dimension)
        store.publish([guard_alias(alias, version.version), alias], collection=collection)
        return collection


def unheeded(settings: Settings) -> str | None:
    """What the settings ask for and the live collection is not; see `Registered.unheeded`."""
    try:
        live, _ = look(settings.qdrant, data_dir=settings.data_dir, alias=settings.collection)
    except StoreUnavailable:
        return None  # whoever needs it now waits for it, and says so
    return Registered(settings).unheeded(live) if live else None


def _is_other(model: ModelSettings, manifest: ModelVersion) -> bool:
    """Whether the model of the settings has other weights; nothing is fetched to find that out."""
    if model.name != BASE and not Path(model.name).is_dir():
        return _named(model) != manifest.name
    try:
        source = resolve_source(model.name)
        return identify(source, templates=manifest.templates) != manifest.version
    except ModelError:
        return True


def _named(model: ModelSettings) -> str:
    is_of_hub = model.revision and model.name != BASE and not Path(model.name).is_dir()
    return f"{model.name}@{model.revision}" if is_of_hub else model.name


def _json(templates: Sequence[str]) -> str:
    return json.dumps(templates, ensure_ascii=False)


def _threads(workers_per_machine: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers_per_machine)
