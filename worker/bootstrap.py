"""The composition root: settings in, objects out."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from celery import Celery
from numpy.typing import NDArray

from schemas.model import ModelVersion, collection_name, guard_alias
from worker.app import INGEST, make_app, restore_unacknowledged, sender
from worker.embedded import Owner, redis_settings
from worker.errors import ConfigurationError, ModelError, WorkerError
from worker.ingest import Encoder, Ingestor, Target
from worker.leases import Leases
from worker.ledger import Ledger
from worker.patience import Patience
from worker.producer import Producer
from worker.registry import Registry, resolve_source
from worker.search import Searcher
from worker.settings import Settings
from worker.store import open_store
from worker.store.protocol import VectorStore
from worker.sweep import Sweeper
from worker.telemetry import Trace

if TYPE_CHECKING:
    from worker.embedder import Embedder

GIVE_UP_S = 60.0
log = logging.getLogger(__name__)


class Deferred:
    """An encoder that is loaded when the first texts come; a load that fails is a `ModelError`."""

    def __init__(self, load: Callable[[], Encoder]) -> None:
        self._load = load
        self._loaded: Encoder | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder`; callers take turns."""
        if self._loaded is None:
            try:
                self._loaded = self._load()
            except WorkerError as error:
                raise ModelError(str(error)) from error
        return self._loaded.encode(texts)


class Load(Protocol):
    """How a worker comes to the model of the live collection."""

    def __call__(
        self, settings: Settings, *, store: VectorStore, ledger: Ledger
    ) -> tuple[ModelVersion, Encoder]:
        """The version and its encoder, checked."""


@dataclass(frozen=True)
class Client:
    """What a program needs to queue and to ask after jobs."""

    settings: Settings
    ledger: Ledger
    producer: Producer
    patience: Patience
    owner: Owner | None
    is_private: bool


@dataclass(frozen=True)
class Runtime:
    """What a worker process holds for as long as it runs."""

    ledger: Ledger
    store: VectorStore
    producer: Producer
    ingestor: Ingestor
    leases: Leases
    sweeper: Sweeper
    patience: Patience
    trace: Trace

    def start(self) -> None:
        """Begin the heartbeat and the sweeps."""
        self.leases.start()
        self.sweeper.start()

    def intake(self, job: str, dois: Sequence[str | Mapping[str, Any]]) -> None:
        """Take a list that another program sent as a job; repeated, it is the same job."""
        self.patience(self.producer.enqueue, dois, job=job)

    def close(self) -> None:
        """Stop the threads and let go of connections, files and locks."""
        self.patience.stop()
        self.sweeper.stop()
        self.leases.stop()
        self.store.close()
        self.ledger.close()
        self.trace.close()


@contextmanager
def connect(settings: Settings, *, command: str = "client") -> Iterator[Client]:
    """A client of the ledger and the queue; without a Redis URL, of a private server.

    `command` says to others what this process is doing. The client's `owner` is the process
    whose private server it is, where that is another one. Raises `ConfigurationError` and
    `LedgerUnavailable`.
    """
    with redis_settings(settings, command=command) as (redis, owner), ExitStack() as stack:
        reachable = settings.model_copy(update={"redis": redis})
        ledger = Ledger.connect(redis, options=settings.ingest)
        stack.callback(ledger.close)
        ledger.ping()
        application = make_app(lambda: reachable)
        stack.callback(application.close)
        patience = Patience(give_up_s=GIVE_UP_S)
        producer = _producer(ledger, application, settings, patience=patience)
        is_private = settings.redis.url is None
        yield Client(reachable, ledger, producer, patience, owner, is_private)


@contextmanager
def open_searcher(settings: Settings) -> Iterator[Searcher]:
    """A searcher on the store of the settings; models are loaded when first needed."""
    registry = Registry(settings.data_dir / "models")

    def load(collection: str) -> tuple[tuple[str, ...], Encoder]:
        version, embedder = load_model(settings, registry, collection=collection)
        return version.templates, embedder

    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        yield Searcher(store, alias=settings.collection, load=load)


def finish_store(settings: Settings) -> None:
    """After a job without servers: let the store build what makes queries fast."""
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        live = store.live(settings.collection)
        if live:
            store.finish(live)


def start_worker(settings: Settings, application: Celery, *, pool: type, load: Load) -> Runtime:
    """All that a worker process needs, checked before it takes its first message.

    `load` gives the model of the live collection (see `live_model`). Waits for a ledger or a
    store that is away. Raises `ConfigurationError` and `ModelError`.
    """
    patience, trace = Patience(), Trace(settings.trace)
    _refuse_forks(pool)
    ledger = Ledger.connect(settings.redis, options=settings.ingest)
    patience(ledger.ping)
    store = open_store(settings.qdrant, data_dir=settings.data_dir)
    version, encoder = patience(load, settings, store=store, ledger=ledger)
    collection = collection_name(settings.collection, version.version)
    leases = Leases(ledger, lease_s=settings.ingest.lease_s)
    ingestor = Ingestor(
        ledger=ledger,
        store=store,
        encoder=encoder,
        target=Target(collection, version.templates, settings.limits.text_bytes),
        leases=leases,
        patience=patience,
        trace=trace,
    )
    sweeper = Sweeper(
        ledger,
        store,
        collection=collection,
        queue=INGEST,
        send=sender(application),
        restore=lambda: restore_unacknowledged(application),
        pause_s=settings.ingest.sweep_s,
    )
    producer = _producer(ledger, application, settings, patience=patience)
    log.info("writing to %s with model %s", collection, version.name)
    return Runtime(ledger, store, producer, ingestor, leases, sweeper, patience, trace)


def live_model(
    settings: Settings, *, store: VectorStore, ledger: Ledger
) -> tuple[ModelVersion, Encoder]:
    """The model of the live collection, loaded and checked.

    Where the alias does not exist yet, makes the first collection, for the model that the
    settings name. Raises `ModelError` where the model isn't in the registry.
    """
    registry = Registry(settings.data_dir / "models")
    live = store.live(settings.collection)
    if live is None:
        with ledger.exclusive("first-collection", timeout_s=120):
            live = store.live(settings.collection) or _first_collection(settings, registry, store)
    return load_model(settings, registry, collection=live)


def load_model(
    settings: Settings, registry: Registry, *, collection: str
) -> tuple[ModelVersion, Encoder]:
    """The model of a collection, found by the version in its name; loaded and checked."""
    from worker.embedder import Embedder  # noqa: PLC0415 - torch takes seconds to import

    prefix, _, version = collection.rpartition("-")
    if prefix != settings.collection:
        raise ConfigurationError(
            f"the alias {settings.collection!r} points at {collection!r}, "
            "which is not a collection that doivec made"
        )
    path, manifest = registry.get(version)

    def load() -> "Embedder":
        embedder = Embedder.load(
            path,
            device=settings.embed.device,
            dtype=settings.embed.dtype,
            threads=settings.embed.threads or _threads(settings.embed.workers_per_machine),
        )
        embedder.check_canaries(manifest)
        return embedder

    # A worker that ends with its command may find everything there already: it doesn't wait
    # for torch before it looks. One that stays says now whether its model is good.
    return manifest, Deferred(load) if settings.qdrant.url is None else load()


def _first_collection(settings: Settings, registry: Registry, store: VectorStore) -> str:
    model = settings.model
    source = resolve_source(model.name, model.revision)
    version = registry.register(source, name=model.name, templates=model.templates)
    collection = collection_name(settings.collection, version.version)
    store.create(collection, dimension=version.dimension)
    aliases = [guard_alias(settings.collection, version.version), settings.collection]
    store.publish(aliases, collection=collection)
    return collection


def _producer(
    ledger: Ledger, application: Celery, settings: Settings, *, patience: Patience
) -> Producer:
    return Producer(
        ledger,
        sender(application),
        options=settings.ingest,
        limits=settings.limits,
        patience=patience,
    )


def _threads(workers_per_machine: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // workers_per_machine)


def _refuse_forks(pool: type) -> None:
    if "prefork" in str(pool):
        raise ConfigurationError(
            "the prefork pool would load a model in every process, and CUDA does not survive "
            "a fork: use `--pool threads` (the default) or `--pool solo`, and more workers"
        )
