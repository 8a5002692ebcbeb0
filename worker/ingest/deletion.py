"""Removing records, for good."""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from schemas.doi import normalize, point_id
from worker.errors import CollectionMissing, StoreBusy
from worker.ledger.ledger import Ledger
from worker.sources.parsing import attempt
from worker.store.protocol import VectorStore


def delete(
    dois: Sequence[str], *, ledger: Ledger, open_store: Callable[[], VectorStore], alias: str
) -> bool:
    """Leave tombstones for DOIs and remove their points from every collection of the alias.

    False where the store is another process's, whose next sweep removes them. Raises
    `InvalidDoi` or `InternalError`, before anything is done, if one of them is none.
    """
    ids = [point_id(attempt(normalize, doi)) for doi in dois]
    sequence = ledger.bury(ids)
    try:
        with closing(open_store()) as store:
            for collection in store.collections(alias):
                with suppress(CollectionMissing):  # pruned just now
                    store.delete(collection, ids, below=sequence)
    except StoreBusy:
        return False
    return True
