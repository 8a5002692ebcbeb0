"""The models that a process holds: loaded when first needed, let go when no longer."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from worker.errors import ConfigurationError, ModelError

if TYPE_CHECKING:  # commands that embed nothing start without numpy
    import numpy as np
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[np.float32]"


def silent(_count: int) -> None:
    """Tell nobody how far it is."""


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str], done: Callable[[int], None] = ..., /) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts; `done` hears of some more."""


class Target(NamedTuple):
    """A collection with its model: how that reads a record, and what makes the vectors."""

    collection: str
    templates: Sequence[str]
    encoder: Encoder


class Models:
    """The models in use, by collection."""

    def __init__(self, load: Callable[[str], Target], *, idle_s: float) -> None:
        self._load = load
        self._idle_s = idle_s
        self._held: dict[str, tuple[Target, float]] = {}
        self._loading = threading.Lock()

    def target(self, collection: str) -> Target:
        """The collection with its model.

        Raises `ModelError`, also where the device has no room for it or its canaries differ.
        """
        held = self._held.get(collection)
        if held is None:
            with self._loading:
                held = self._held.get(collection) or (self._load_anew(collection), 0.0)
                self._held[collection] = held
        self._held[collection] = (held[0], time.monotonic())
        return held[0]

    def _load_anew(self, collection: str) -> Target:
        try:
            return self._load(collection)
        except (ModelError, ConfigurationError):
            raise
        except Exception as error:
            raise ModelError(f"the model of {collection} can't be loaded: {error!s}") from error

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

    def encode(self, texts: Sequence[str], done: Callable[[int], None] = silent) -> Vectors:
        """See `Encoder`; callers take turns."""
        if self._loaded is None:
            try:
                self._loaded = self._load()
            except Exception as error:
                raise ModelError(str(error) or repr(error)) from error
        return self._loaded.encode(texts, done)
