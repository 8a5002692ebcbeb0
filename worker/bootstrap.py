"""The composition root: settings in, objects out; `worker.runtime` has a worker's."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from worker.audit import Audit, Repair, Wanting
from worker.contents import Contents
from worker.embedded.owner import Owner, refuse_any_owner
from worker.embedded.server import redis_settings
from worker.errors import (
    ConfigurationError,
    StoreBusy,
    StoreUnavailable,
    Unanswerable,
)
from worker.ingest import deletion
from worker.ingest.producer import Producer
from worker.ledger import identity
from worker.ledger.identity import There
from worker.ledger.ledger import Ledger
from worker.ledger.state import Identity
from worker.metadata.index import Index
from worker.metadata.supplements import Supplements
from worker.model.registered import Registered
from worker.model.registry import Registry
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.settings.servers import QdrantSettings, RedisSettings
from worker.store.names import version_in
from worker.store.opening import look, open_store

# Imported by the functions that need them: most commands need none, and would take longer to start.
if TYPE_CHECKING:
    from celery import Celery

    from worker.moving import Move
    from worker.search import Searcher
    from worker.verification import Verification

GIVE_UP_S = 60.0
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
    refuse_stray_edge(settings)
    with redis_settings(settings, command=command) as (redis, owner), ExitStack() as stack:
        reachable = settings.model_copy(update={"redis": redis})
        ledger = Ledger.connect(redis, options=settings.ingest)
        stack.callback(ledger.close)
        Patience(give_up_s=0.0)(ledger.ping)  # once, and it says so where that takes long
        if compares:
            identity.compare(ledger, lambda: _there(settings), alias=settings.collection)
        application = _application(reachable, stack)
        patience = Patience(give_up_s=GIVE_UP_S)
        producer = make_producer(ledger, application, settings, patience=patience)
        is_private = settings.redis.url is None
        yield Client(reachable, application, ledger, producer, patience, owner, is_private)


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
            dois,
            ledger=client.ledger,
            store=store,
            alias=settings.collection,
            patience=client.patience,
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


def _application(settings: Settings, stack: ExitStack) -> "Callable[[], Celery]":
    """A client's application: made when it is first needed, closed with the stack."""

    @cache
    def made() -> "Celery":
        from worker.app import make_app  # noqa: PLC0415

        application = make_app(lambda: settings)
        stack.callback(application.close)
        return application

    return made


def make_producer(
    ledger: Ledger,
    application: "Callable[[], Celery]",
    settings: Settings,
    *,
    patience: Patience,
) -> Producer:
    """What takes records into a ledger and sends their claim checks."""

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


def refuse_stray_edge(settings: Settings) -> None:
    """Raise `ConfigurationError` where a shared Redis would stand beside a private store."""
    if settings.redis.url and not settings.qdrant.url and not settings.qdrant.embedded:
        raise ConfigurationError(
            "DOIVEC_REDIS__URL is set and DOIVEC_QDRANT__URL is not: vectors would go to a private "
            "store on this machine, which no other worker sees; set it, or "
            "DOIVEC_QDRANT__EMBEDDED=true where that is wanted"
        )


def metadata_index(settings: Settings) -> Index:
    """The local index of what DOIs are called."""
    return Index(settings.metadata.index or settings.data_dir / "metadata.sqlite")


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
def verifying(settings: Settings) -> Iterator["Verification"]:
    """What recomputes points of the live collection with its own model; raises `ModelError`."""
    from worker.verification import Verification  # noqa: PLC0415

    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        live = store.live(settings.collection)
        if live is None:
            words = f"nothing is ingested yet: there is no alias {settings.collection!r}"
            raise Unanswerable(words)
        yield Verification(store, Registered(settings).load(live))


@contextmanager
def moving(settings: Settings) -> Iterator["Move"]:
    """What brings the data directory's ledger and vectors to the servers of the settings.

    Raises `ConfigurationError` and `StoreBusy`.
    """
    from worker.moving import Move  # noqa: PLC0415

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
