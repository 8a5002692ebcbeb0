"""Deployments: the one ledger and the one store that belong together, under one alias.

The first process that queues or works founds a deployment in the ledger; the first collection is
given its id. From then on every process that queues or writes compares the two.
"""

from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

from worker.errors import ConfigurationError
from worker.ledger.state import Identity, SharedState
from worker.store.protocol import VectorStore

WAY_OUT = (
    "set DOIVEC_REDIS__URL, DOIVEC_QDRANT__URL and DOIVEC_DATA_DIR to those that belong together; "
    "after a restore, `doi-worker adopt` takes these two for one deployment"
)


class There(NamedTuple):
    """What a store has behind an alias: the live collection, and whose that is."""

    live: str | None
    deployment: str | None

    @classmethod
    def of(cls, store: VectorStore, alias: str) -> "There":
        """Ask a store."""
        live = store.live(alias)
        return cls(live, store.deployment(live) if live else None)


def compare(state: SharedState, look: Callable[[], There | None], *, alias: str) -> None:
    """Raise `ConfigurationError` unless ledger and store are one deployment's, under this alias.

    `look` gives None where the store can't be asked now: then only the alias is compared. A ledger
    that knows of none founds one, where the store's collection is nobody's either.
    """
    known = state.identity()  # before the store: `join` tells the store first, then the ledger
    if known and known.alias != alias:
        raise ConfigurationError(
            f"this Redis database serves the collection {known.alias!r}, not {alias!r}: one "
            "database serves one collection; take another one, such as redis://host:6379/1"
        )
    there = look()
    if there is None:
        if known is None:
            state.found(alias)
        return
    if known is None and there.deployment:
        known = state.identity()  # founded, and joined, while we looked
    own = known.id if known else "none"
    if there.live is None and known and known.has_store:
        raise ConfigurationError(
            f"the ledger is of deployment {own}, whose collection {alias!r} is not in this store; "
            + WAY_OUT
        )
    is_other = there.deployment is not None and there.deployment != own
    is_nobodys = there.live and there.deployment is None and known and known.has_store
    if is_other or is_nobodys:
        raise ConfigurationError(
            f"the ledger is of deployment {own}, the store's collection {there.live} of "
            f"{there.deployment or 'none'}; {WAY_OUT}"
        )
    if known is None:
        state.found(alias)


def join(state: SharedState, store: VectorStore, collection: str, *, alias: str) -> None:
    """Give the first collection to the ledger's deployment, where that has none yet.

    Raises `ConfigurationError` where it has one, and this one is not its: of two workers that
    begin at once with a store each, one gets through.
    """
    known = state.identity() or state.found(alias)
    if known.has_store and store.deployment(collection) != known.id:
        raise ConfigurationError(
            f"the ledger is of deployment {known.id}, which has a collection already, in another "
            f"store; {WAY_OUT}"
        )
    store.assign(collection, deployment=known.id)
    if not known.has_store:
        state.identify(known._replace(has_store=True))


def adopt(state: SharedState, store: VectorStore, *, alias: str) -> Identity:
    """Make a ledger and a store one deployment, whatever they were before."""
    live = store.live(alias)
    new = Identity(uuid4().hex[:12], alias, has_store=live is not None)
    for collection in store.collections(alias):
        store.assign(collection, deployment=new.id)
    state.identify(new)
    return new
