"""The models that a process holds: loaded when first needed, let go when no longer."""

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.model import collection_name, guard_alias
from worker.errors import ConfigurationError, ModelError, WorkerError
from worker.ledger.ledger import Ledger
from worker.model.origin import resolve_source
from worker.model.registry import Registry
from worker.settings import Settings
from worker.store.protocol import VectorStore

if TYPE_CHECKING:
    from worker.model.embedder import Embedder

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts."""


class Target(NamedTuple):
    """A collection with its model: how that reads a record, and what makes the vectors."""

    collection: str
    templates: Sequence[str]
    encoder: Encoder


class Source(Protocol):
    """Where models come from."""

    def live(self, store: VectorStore, ledger: Ledger) -> str:
        """The live collection; where there is none yet, it is made."""

    def load(self, collection: str) -> Target:
        """A collection's own model, checked."""


class Models:
    """The models in use, by collection."""

    def __init__(self, load: Callable[[str], Target], *, idle_s: float) -> None:
        self._load = load
        self._idle_s = idle_s
        self._held: dict[str, tuple[Target, float]] = {}
        self._loading = threading.Lock()

    def target(self, collection: str) -> Target:
        """The collection with its model; raises `ModelError`."""
        held = self._held.get(collection)
        if held is None:
            with self._loading:
                held = self._held.get(collection) or (self._load(collection), 0.0)
                self._held[collection] = held
        self._held[collection] = (held[0], time.monotonic())
        return held[0]

    def keep(self, collections: Collection[str]) -> None:
        """Let go of all other models that were not used for a while."""
        now = time.monotonic()
        for name, (_, used) in list(self._held.items()):
            if name not in collections and now - used > self._idle_s:
                del self._held[name]

    @property
    def held(self) -> list[str]:
        """The collections whose models are in memory."""
        return sorted(self._held)


class Deferred:
    """An encoder that is loaded when the first texts come; a load that fails is a `ModelError`."""

    def __init__(self, load: Callable[[], Encoder]) -> None:
        self._load = load
        self._loaded: Encoder | None = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder`; callers take turns."""
        if self._loaded is None:
            try:
                self._loaded = self._load()
            except WorkerError as error:
                raise ModelError(str(error)) from error
        return self._loaded.encode(texts)


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
        prefix, _, version = collection.rpartition("-")
        if prefix != self._settings.collection:
            raise ConfigurationError(
                f"the alias {self._settings.collection!r} points at {collection!r}, "
                "which is not a collection that doivec made"
            )
        path, manifest = self._registry.get(version)
        embed = self._settings.embed

        def load() -> "Embedder":
            from worker.model.embedder import Embedder  # noqa: PLC0415 - torch takes seconds to import

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
