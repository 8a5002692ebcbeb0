"""A worker process: all that it holds for as long as it runs."""

import logging
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.bootstrap import make_producer, refuse_stray_edge
from worker.errors import (
    ConfigurationError,
)
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
from worker.model.loaded import Models
from worker.model.registered import Registered, Source
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.store.opening import open_store
from worker.store.protocol import VectorStore
from worker.ticker import Ticker

# Imported at a worker's start.
if TYPE_CHECKING:
    from celery import Celery


BACKFILL_LOOK_S = 0.5
log = logging.getLogger(__name__)


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


def start_worker(
    settings: Settings, application: "Celery", *, pool: type, source: Source | None = None
) -> Runtime:
    """All that a worker process needs, checked before it takes its first message.

    `source` is where models come from, the registry unless given. Waits for a ledger or a store
    that is away. Raises `ConfigurationError` and `ModelError`.
    """
    _refuse_forks(pool)
    refuse_stray_edge(settings)
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
    producer = make_producer(ledger, lambda: application, settings, patience=patience)
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


def _refuse_forks(pool: type) -> None:
    if "prefork" in str(pool):
        raise ConfigurationError(
            "the prefork pool would load a model in every process, and CUDA does not survive "
            "a fork: use `--pool threads` (the default) or `--pool solo`, and more workers"
        )
