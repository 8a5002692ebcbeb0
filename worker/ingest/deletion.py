"""Removing records, for good."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from schemas.doi import point_id
from worker.errors import CollectionMissing
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.store.protocol import VectorStore

DOIS_A_PAGE = 1024


def delete(
    dois: Iterable[str],
    *,
    ledger: Ledger,
    store: VectorStore | None,
    alias: str,
    patience: Patience,
) -> Iterator[tuple[str, bool | None]]:
    """Leave tombstones for canonical DOIs and remove their points from the alias's collections.

    Gives each DOI when that is done, and whether one of the collections had it. `store` is None
    where another process has it, whose next sweep removes the points: what it has isn't known then.
    """
    left = iter(dois)
    while page := dict.fromkeys(islice(left, DOIS_A_PAGE)):
        ids = {doi: point_id(doi) for doi in page}
        there = patience(_there, store, list(ids.values()), alias=alias) if store else set()
        sequence = patience(ledger.bury, list(ids.values()))
        if store:
            patience(_remove, store, list(ids.values()), alias=alias, below=sequence)
        yield from ((doi, i in there if store else None) for doi, i in ids.items())


def _there(store: VectorStore, ids: Sequence[str], *, alias: str) -> set[str]:
    found: set[str] = set()
    for collection in store.collections(alias):
        with suppress(CollectionMissing):  # pruned just now
            found.update(store.payloads(collection, ids, fields=["doi"]))
    return found


def _remove(store: VectorStore, ids: Sequence[str], *, alias: str, below: int) -> None:
    for collection in store.collections(alias):
        with suppress(CollectionMissing):
            store.delete(collection, ids, below=below)
