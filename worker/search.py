"""A DOI or a text in, similar DOIs out."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import normalize, point_id
from schemas.model import render, shorten
from schemas.search import Hit
from worker.errors import CollectionMissing, Unanswerable
from worker.model.loaded import Target
from worker.sources.parsing import attempt
from worker.store.protocol import PointMissing, VectorStore

Query = str | NDArray[np.float32]


class Searcher:
    """Answers similarity queries from the live collection, with that collection's own model.

    `load` gives the model of a collection; it is asked only for what is not stored, so that a
    search for a DOI in the collection runs no model.
    """

    def __init__(self, store: VectorStore, *, alias: str, load: Callable[[str], Target]) -> None:
        self._store = store
        self._alias = alias
        self._model = lru_cache(maxsize=1)(load)

    def search(
        self,
        doi: str | None = None,
        *,
        text: str | None = None,
        k: int = 10,
        registrant: str | None = None,
    ) -> list[Hit]:
        """The `k` records nearest to a DOI (itself left out) or to a text, best first.

        `registrant` keeps only DOIs of that prefix. Raises `schemas.doi.InvalidDoi`,
        `InternalError`, `Unanswerable`, `StoreUnavailable` and `ModelError`.
        """
        if (doi is None) == (text is None):
            raise Unanswerable("give a DOI or a text, one of the two")
        canonical = attempt(normalize, doi) if doi is not None else None
        try:
            return self._search(canonical, text, k=k, registrant=registrant)
        except (CollectionMissing, PointMissing):
            # The alias moved on and its old collection is gone, or the point was just deleted.
            return self._search(canonical, text, k=k, registrant=registrant)

    def _search(
        self, doi: str | None, text: str | None, *, k: int, registrant: str | None
    ) -> list[Hit]:
        # The alias is resolved once, so that the query, its model and its answer are of one
        # collection, across a switch too.
        collection = self._store.live(self._alias)
        if collection is None:
            raise Unanswerable(f"nothing is ingested yet: there is no alias {self._alias!r}")
        query = self._query(collection, doi, text)
        return self._store.search(collection, query, k=k, registrant=registrant)

    def _query(self, collection: str, doi: str | None, text: str | None) -> Query:
        if doi is not None and self._store.read(collection, [point_id(doi)]):
            return point_id(doi)
        model = self._model(collection)
        rendered = text if doi is None else render(Document(doi=doi), model.templates)
        if rendered is None:
            raise Unanswerable(
                f"{doi} is not in the collection, and its model reads more than a DOI: "
                "search with a text, such as the title"
            )
        vector: NDArray[np.float32] = model.encoder.encode([shorten(rendered)])[0]
        return vector
