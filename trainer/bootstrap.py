"""The composition root of the trainer: settings to objects."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from trainer.data.held_out import HeldOutStore
from trainer.data.metadata import MetadataStore
from trainer.data.pairs import PairStore
from trainer.data.supply import Supplier
from trainer.history import History
from trainer.promotion.passes import Deployment
from trainer.promotion.preview import Previewer
from trainer.promotion.promote import Promoter
from trainer.stores import Stores
from worker.bootstrap import Client, connect, metadata_index, open_contents
from worker.contents import Contents
from worker.embedded.owner import refuse_any_owner
from worker.exposition import DiskFree, Exposition
from worker.model.registered import Registered
from worker.model.registry import Registry
from worker.runtime import Runtime, make_runtime
from worker.settings.environment import Settings
from worker.store.names import version_in
from worker.store.opening import look, open_store
from worker.store.protocol import VectorStore

if TYPE_CHECKING:
    from trainer.refinement.desk import Desk
    from trainer.refinement.refine import Refine
    from trainer.refinement.roles import Watcher


def open_stores(settings: Settings) -> Stores:
    """The stores of these settings; nothing is made before something is kept."""
    root = settings.data_dir / "trainer"
    metadata = MetadataStore(root, limits=settings.limits)
    supply = Supplier(
        metadata,
        open_contents=partial(_open_contents, settings),
        index=metadata_index(settings),
        want=settings.metadata.want,
    )
    return Stores(
        settings,
        root,
        PairStore(root, limits=settings.limits, caps=settings.pairs),
        metadata,
        supply,
        HeldOutStore(root),
        Registry(settings.data_dir / "models"),
    )


def live_version(settings: Settings) -> str | None:
    """The beginning of the live version's id; None before there is a collection.

    Raises `ConfigurationError`, `StoreUnavailable`.
    """
    live, _ = look(settings.qdrant, data_dir=settings.data_dir, alias=settings.collection)
    return version_in(settings.collection, live) if live else None


def make_refine(
    settings: Settings,
    *,
    watcher: "Watcher",
    told_to_stop: Callable[[], bool] = lambda: False,
    check: Callable[[], None] = lambda: None,
) -> "Refine":
    """A refine on the stores of these settings; see `Refine`."""
    from trainer.refinement.refine import Refine  # noqa: PLC0415 - imports torch and the Trainer

    return Refine(
        open_stores(settings),
        open_promoter=lambda: open_promoter(settings, command="refine"),
        history=History.below(settings.data_dir),
        watcher=watcher,
        told_to_stop=told_to_stop,
        check=check,
    )


def open_desk(settings: Settings, *, lost: Callable[[], None]) -> "Desk":
    """What a trainer's worker holds; `lost` is called where the device is lost. See `Desk`."""
    from trainer.refinement.desk import Desk  # noqa: PLC0415 - imports torch; beat needs none

    return Desk(settings, make_refine=make_refine, lost=lost)


def expose(settings: Settings) -> None:
    """Tell how a trainer's worker is, at the port of the settings, until the process ends."""
    from trainer.refinement.vitals import RefineMetrics  # noqa: PLC0415 - as above

    history = History.below(settings.data_dir)
    well = partial(str, "")
    collectors = [RefineMetrics(history), DiskFree(settings.data_dir)]
    Exposition(settings.metrics, lives=well, is_ready=well, collectors=collectors)


@contextmanager
def open_promoter(settings: Settings, *, command: str) -> Iterator[Promoter]:
    """What makes versions live, on the servers of the settings or on the embedded ones.

    Where no other process works batches off (Qdrant Edge, or a private Redis), this one does,
    for as long as the context is open. Raises `StoreBusy` where another process has the
    embedded store, `ConfigurationError`, `LedgerUnavailable`.
    """
    with connect(settings, command=command) as client:
        if settings.qdrant.url is None:
            refuse_any_owner(client.owner)
        store = open_store(settings.qdrant, data_dir=settings.data_dir)
        with closing(store), _workers(client, store) as runtime:
            deployment = Deployment(
                client.ledger,
                store,
                load=runtime.models.target if runtime else Registered(settings).load,
                patience=client.patience,
                alias=settings.collection,
                indexes_by_itself=settings.qdrant.url is not None,
            )

            def check() -> None:
                if runtime and runtime.backfiller.failure:
                    raise runtime.backfiller.failure

            yield Promoter(deployment, open_stores(settings), check=check)


@contextmanager
def open_previewer(settings: Settings) -> Iterator[Previewer]:
    """What looks at another version's answers, and writes nothing: it needs no ledger.

    Raises `ConfigurationError`, and `StoreBusy` where another process has the embedded store.
    """
    registry, load = open_stores(settings).registry, Registered(settings).load
    with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
        yield Previewer(store, registry, alias=settings.collection, load=load)


@contextmanager
def _open_contents(settings: Settings) -> Iterator[Contents | None]:
    """What the live collection holds; None before there is one, for which no store is made."""
    if live_version(settings) is None:
        yield None
        return
    with open_contents(settings) as contents:
        yield contents


@contextmanager
def _workers(client: Client, store: VectorStore) -> Iterator[Runtime | None]:
    """A worker's objects in this process, for backfills; none where others do that."""
    others = client.settings.qdrant.url and (not client.is_private or client.owner)
    if others or client.patience(store.live, client.settings.collection) is None:
        yield None
        return
    runtime = make_runtime(
        client.settings,
        client.application(),
        ledger=client.ledger,
        store=store,
        patience=client.patience,
        source=Registered(client.settings),
    )
    runtime.start()
    try:
        yield runtime
    finally:
        runtime.close()
