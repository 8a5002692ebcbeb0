"""Models from the registry: that of a collection, and that with which the first one is made."""

import os
from typing import Protocol

from schemas.model import collection_name, guard_alias
from worker.errors import ConfigurationError
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.model.loaded import Deferred, Encoder, Target
from worker.model.origin import resolve_source
from worker.model.registry import Registry
from worker.settings import Settings
from worker.store.names import version_in
from worker.store.protocol import VectorStore


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
        version = version_in(self._settings.collection, collection)
        path, manifest = self._registry.get(version)
        embed = self._settings.embed

        def load() -> Embedder:
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

    def _make_first(self, store: VectorStore) -> str:
        model, alias = self._settings.model, self._settings.collection
        source = resolve_source(model.name, model.revision)
        version = self._registry.register(source, name=model.name, templates=model.templates)
        collection = collection_name(alias, version.version)
        if others := [name for name in store.collections(alias) if name != collection]:
            raise ConfigurationError(
                f"there are collections ({', '.join(others)}) but no alias {alias!r}: point it, "
                "and its guard, at the one that was live (docs/operations.md)"
            )
        store.create(collection, dimension=version.dimension)
        store.publish([guard_alias(alias, version.version), alias], collection=collection)
        return collection


def _threads(workers_per_machine: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers_per_machine)
