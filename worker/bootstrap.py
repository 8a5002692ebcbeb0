"""The composition root: settings in, objects out."""

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from worker.audit import Audit, Repair, Wanting
from worker.completion import Completion
from worker.contents import Contents
from worker.embedded.owner import Owner, refuse_any_owner
from worker.embedded.server import redis_settings
from worker.errors import (
    ConfigurationError,
    StoreBusy,
    StoreUnavailable,
    Unanswerable,
)
from worker.files import locked
from worker.ingest import deletion
from worker.ingest.backfill import Backfiller
from worker.ingest.batch import Ingestor
from worker.ingest.intake import Intake
from worker.ingest.presence import Presence
from worker.ingest.producer import Producer
from worker.ingest.rows import Reader
from worker.ingest.sweep import Sweeper
from worker.ingest.turns import Turns
from worker.ingest.vitals import told
from worker.ingest.writer import Writer
from worker.ledger import identity
from worker.ledger.identity import There
from worker.ledger.leases import Leases
from worker.ledger.ledger import Ledger
from worker.ledger.sole import sole
from worker.ledger.state import Identity
from worker.metadata.index import Index
from worker.metadata.memory import Agencies, Spending
from worker.metadata.resolver import Resolver
from worker.metadata.supplements import Supplements
from worker.model.loaded import Models
from worker.model.registered import Registered, Source
from worker.model.registry import Registry
from worker.moving import Move
from worker.patience import Patience
from worker.settings import QdrantSettings, RedisSettings, Settings
from worker.store.names import version_in
from worker.store.opening import look, open_store
from worker.store.protocol import VectorStore
from worker.ticker import Ticker
from worker.verification import Verification

# Celery, numpy and the registries' client are imported by the functions that need them, a worker's
# at its start: most commands need none, and would take twice as long to start.
if TYPE_CHECKING:
    from celery import Celery

    from worker.search import Searcher

GIVE_UP_S = 60.0
BACKFILL_LOOK_S = 0.5
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Client:
    """What a program needs to queue and to ask after jobs."""

    settings: Settings
    application: Callable[[], "Celery"]
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
    intake: Intake
    ingestor: Ingestor
    models: Models
    leases: Leases
    sweeper: Sweeper
    tender: Ticker
    backfiller: Backfiller
    patience: Patience
    presence: Presence

    def start(self) -> None:
        """Begin the heartbeat, the sweeps, and the look-out for backfills."""
        self.leases.start()
        self.sweeper.start()
        self.tender.start()
        self.backfiller.start()
        self.presence.start()
        self.presence.work_on(self.store)

    def close(self) -> None:
        """Stop the threads and let go of connections, files and locks."""
        self.patience.stop()
        self.backfiller.stop()
        self.tender.stop()
        self.sweeper.stop()
        self.leases.stop()
        self.presence.stop()
        self.store.close()
        self.ledger.close()
        self.presence.desk.close()


@contextmanager
def connect(
    settings: Settings, *, command: str = "client", compares: bool = True
) -> Iterator[Client]:
    """A client of the ledger and the queue; without a Redis URL, of a private server.

    `command` says to others what this process is doing. The client's `owner` is the process
    whose private server it is, where that is another one. Unless `compares` is false, the ledger
    and the store must be of one deployment. Raises `ConfigurationError`, `LedgerUnavailable`, and
    `StoreBusy` where another command keeps the data directory for too long.
    """
    _refuse_stray_edge(settings)
    with redis_settings(settings, command=command) as (redis, owner), ExitStack() as stack:
        reachable = settings.model_copy(update={"redis": redis})
        ledger = Ledger.connect(redis, options=settings.ingest)
        stack.callback(ledger.close)
        Patience(give_up_s=0.0)(ledger.ping)  # once, and it says so where that takes long
        if compares:
            identity.compare(ledger, lambda: _there(settings), alias=settings.collection)
        application = _application(reachable, stack)
        patience = Patience(give_up_s=GIVE_UP_S)
        producer = _producer(ledger, application, settings, patience=patience)
        is_private = settings.redis.url is None
        yield Client(reachable, application, ledger, producer, patience, owner, is_private)


@contextmanager
def open_searcher(settings: Settings) -> Iterator["Searcher"]:
    """A searcher on the store of the settings; models are loaded when first needed."""
    from worker.search import Searcher  # noqa: PLC0415

    load = Registered(settings).load
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        yield Searcher(store, alias=settings.collection, load=load)


@contextmanager
def open_contents(settings: Settings) -> Iterator[Contents]:
    """What the live collection of the settings holds."""
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        yield Contents(store, alias=settings.collection)


@contextmanager
def verifying(settings: Settings) -> Iterator[Verification]:
    """What recomputes points of the live collection with its own model; raises `ModelError`."""
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        live = store.live(settings.collection)
        if live is None:
            words = f"nothing is ingested yet: there is no alias {settings.collection!r}"
            raise Unanswerable(words)
        yield Verification(store, Registered(settings).load(live))


@contextmanager
def moving(settings: Settings) -> Iterator[Move]:
    """What brings the data directory's ledger and vectors to the servers of the settings.

    Raises `ConfigurationError` and `StoreBusy`.
    """
    if not (settings.redis.url and settings.qdrant.url):
        raise ConfigurationError(
            "set DOIVEC_REDIS__URL and DOIVEC_QDRANT__URL to the servers to move to"
        )
    local = settings.model_copy(update={"redis": RedisSettings(), "qdrant": QdrantSettings()})
    registry = Registry(settings.data_dir / "models")
    with redis_settings(local, command="migrate") as (redis, owner), ExitStack() as stack:
        refuse_any_owner(owner)
        ledgers = [Ledger.connect(r, options=settings.ingest) for r in (redis, settings.redis)]
        stores = [open_store(s.qdrant, data_dir=settings.data_dir) for s in (local, settings)]
        for ledger, store in zip(ledgers, stores, strict=True):
            stack.callback(ledger.close)
            stack.callback(store.close)
        yield Move(
            ledgers=(ledgers[0], ledgers[1]),
            stores=(stores[0], stores[1]),
            alias=settings.collection,
            dimension=lambda name: (
                registry.look(version_in(settings.collection, name))[1].dimension
            ),
        )


def metadata_index(settings: Settings) -> Index:
    """The local index of what DOIs are called."""
    return Index(settings.metadata.index or settings.data_dir / "metadata.sqlite")


@contextmanager
def open_resolver(settings: Settings) -> Iterator[Resolver]:
    """What looks DOIs up, one on an index at a time; raises `Busy` and `ConfigurationError`."""
    from worker.metadata.registries.opening import open_registries  # noqa: PLC0415

    index = metadata_index(settings)
    registries = open_registries(
        settings.metadata,
        budget=Spending(index, usd_a_day=settings.metadata.openalex_usd_a_day),
        agencies=Agencies(index),
    )
    resolver = Resolver(index, registries, settings=settings.metadata)
    with closing(resolver), locked(index.path.with_name("resolver.lock")):
        yield resolver


def completion(client: Client, resolver: Resolver) -> Completion:
    """What brings titles to the client's live collection."""
    settings = client.settings
    return Completion(
        resolver,
        client.producer,
        contents=lambda: open_contents(settings),
        wanted={"title", settings.metadata.want},
        folder=settings.data_dir,
    )


@contextmanager
def sole_resolver(client: Client) -> Iterator[Callable[[], None]]:
    """Be the only resolver of a ledger; what it gives raises `LeaseLost` where it isn't any more.

    Raises `Busy`.
    """
    with sole(client.ledger, "resolver", lease_s=client.settings.ingest.lease_s) as lease:
        yield lease.check


def adopt(client: Client) -> Identity:
    """Make the client's ledger and store one deployment; see `worker.ledger.identity`."""
    settings = client.settings
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        return identity.adopt(client.ledger, store, alias=settings.collection)


def finish_store(settings: Settings) -> None:
    """After a job without servers: let the store build what makes queries fast."""
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        live = store.live(settings.collection)
        if live:
            store.finish(live)


def delete(client: Client, dois: Iterable[str]) -> Iterator[tuple[str, bool | None]]:
    """Remove DOIs from the store of the client's settings; see `worker.ingest.deletion`."""
    settings = client.settings
    with ExitStack() as stack:
        store = None
        with suppress(StoreBusy):
            store = open_store(settings.qdrant, data_dir=settings.data_dir)
            stack.callback(store.close)
        yield from deletion.delete(
            dois, ledger=client.ledger, store=store, alias=settings.collection
        )


@contextmanager
def auditing(client: Client, *, wanting: Wanting | None = None) -> Iterator[Audit]:
    """What compares a client's ledger with its store; `wanting` hears what is not as it should."""
    settings = client.settings
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        yield Audit(client.ledger, store, alias=settings.collection, wanting=wanting)


def repairing(client: Client, *, source: str, is_worked: bool) -> Repair:
    """What queues again what an audit finds wanting; it holds where workers are at it."""
    ingest = client.settings.ingest
    return Repair(
        client.ledger,
        lambda: client.producer.open(source=source),
        send=client.producer.send,
        patience=client.patience,
        most=ingest.outstanding_batches if is_worked else None,
        beat_s=ingest.lease_s,
    )


def start_worker(
    settings: Settings, application: "Celery", *, pool: type, source: Source | None = None
) -> Runtime:
    """All that a worker process needs, checked before it takes its first message.

    `source` is where models come from, the registry unless given. Waits for a ledger or a store
    that is away. Raises `ConfigurationError` and `ModelError`.
    """
    _refuse_forks(pool)
    _refuse_stray_edge(settings)
    patience = Patience()
    ledger = Ledger.connect(settings.redis, options=settings.ingest)
    patience(ledger.ping)
    presence = _presence(settings, ledger, patience=patience)
    with told(presence, settings):
        store = open_store(settings.qdrant, data_dir=settings.data_dir)
        runtime = make_runtime(
            settings,
            application,
            ledger=ledger,
            store=store,
            patience=patience,
            presence=presence,
            source=source or Registered(settings),
        )
        live = patience(store.live, settings.collection)
        if live and (words := Registered(settings).unheeded(live)):
            log.warning(words)
        return runtime


def _presence(settings: Settings, ledger: Ledger, *, patience: Patience) -> Presence:
    """What tells others how this process is, once it is begun."""
    from worker.app import QUEUES  # noqa: PLC0415

    return Presence(ledger, settings, queues=QUEUES, patience=patience)


def make_runtime(
    settings: Settings,
    application: "Celery",
    *,
    ledger: Ledger,
    store: VectorStore,
    patience: Patience,
    source: Source,
    presence: Presence | None = None,
) -> Runtime:
    """A worker's objects on a ledger and a store; the model of the live collection is loaded."""
    alias = settings.collection
    presence = presence or _presence(settings, ledger, patience=patience)
    patience(lambda: identity.compare(ledger, lambda: There.of(store, alias), alias=alias))
    models = Models(source.load, idle_s=settings.ingest.lease_s)
    live = models.target(patience(source.live, store, ledger))
    patience(identity.join, ledger, store, live.collection, alias=alias)
    log.info("writing to %s", live.collection)
    leases = Leases(ledger, lease_s=settings.ingest.lease_s)
    producer = _producer(ledger, lambda: application, settings, patience=patience)
    writer = Writer(
        store,
        turns=Turns(share=settings.ingest.backfill_share),
        patience=patience,
    )
    ingestor = Ingestor(
        ledger=ledger,
        models=models,
        reader=Reader(ledger, store, alias=settings.collection, patience=patience),
        writer=writer,
        leases=leases,
        patience=patience,
        desk=presence.desk,
    )
    return Runtime(
        ledger=ledger,
        store=store,
        producer=producer,
        intake=Intake(producer, ledger, patience=patience),
        ingestor=ingestor,
        models=models,
        leases=leases,
        sweeper=_sweeper(ledger, store, application, settings=settings),
        tender=Ticker("tend", ingestor.tend, pause_s=settings.ingest.sweep_s),
        backfiller=Backfiller(ledger, ingestor, lost=end_this_process, pause_s=BACKFILL_LOOK_S),
        patience=patience,
        presence=presence,
    )


def end_this_process() -> None:
    """Stop this worker in good order, as SIGTERM does."""
    os.kill(os.getpid(), signal.SIGTERM)


def _sweeper(
    ledger: Ledger,
    store: VectorStore,
    application: "Celery",
    *,
    settings: Settings,
) -> Sweeper:
    from worker.app import INGEST, restore_unacknowledged, sender  # noqa: PLC0415

    return Sweeper(
        ledger,
        store,
        alias=settings.collection,
        queue=INGEST,
        send=sender(application),
        restore=lambda: restore_unacknowledged(application),
        pause_s=settings.ingest.sweep_s,
    )


def _application(settings: Settings, stack: ExitStack) -> "Callable[[], Celery]":
    """A client's application: made when it is first needed, closed with the stack."""

    @cache
    def made() -> "Celery":
        from worker.app import make_app  # noqa: PLC0415

        application = make_app(lambda: settings)
        stack.callback(application.close)
        return application

    return made


def _producer(
    ledger: Ledger,
    application: "Callable[[], Celery]",
    settings: Settings,
    *,
    patience: Patience,
) -> Producer:
    def send(job: str, number: int) -> None:
        from worker.app import sender  # noqa: PLC0415

        sender(application())(job, number)

    return Producer(
        ledger,
        send,
        options=settings.ingest,
        limits=settings.limits,
        patience=patience,
        supplement=Supplements(metadata_index(settings), want=settings.metadata.want),
    )


def _there(settings: Settings) -> There | None:
    """What the store has; None where it doesn't answer now: workers compare before they write."""
    try:
        found = look(settings.qdrant, data_dir=settings.data_dir, alias=settings.collection)
        return There(*found)
    except StoreUnavailable as error:
        log.warning("the store is not compared with the ledger: %s", error)
        return None


def _refuse_stray_edge(settings: Settings) -> None:
    if settings.redis.url and not settings.qdrant.url and not settings.qdrant.embedded:
        raise ConfigurationError(
            "DOIVEC_REDIS__URL is set and DOIVEC_QDRANT__URL is not: vectors would go to a private "
            "store on this machine, which no other worker sees; set it, or "
            "DOIVEC_QDRANT__EMBEDDED=true where that is wanted"
        )


def _refuse_forks(pool: type) -> None:
    if "prefork" in str(pool):
        raise ConfigurationError(
            "the prefork pool would load a model in every process, and CUDA does not survive "
            "a fork: use `--pool threads` (the default) or `--pool solo`, and more workers"
        )
