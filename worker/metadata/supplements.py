"""What the local index adds to records that come without a title."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from schemas.document import Document
from worker.errors import WorkerError
from worker.settings.metadata import Want

SAY_AGAIN_S = 60.0
log = logging.getLogger(__name__)


class Finder(Protocol):
    """What knows DOIs: see `worker.metadata.index.Index.find`."""

    def find(self, dois: Sequence[str]) -> Mapping[str, list[Document]]:
        """Of each canonical DOI what its sources know, the most trusted first."""


def lacks(fields: Iterable[str], want: Want) -> bool:
    """Whether a record with these fields lacks what is wanted."""
    return not {"title", want} <= set(fields)


def lacking(dois: Iterable[str], found: Mapping[str, Iterable[Document]], want: Want) -> list[str]:
    """Those of DOIs of which what is wanted is not among what was found of each."""

    def fields(doi: str) -> set[str]:
        return {name for document in found.get(doi, ()) for name in document.metadata}

    return [doi for doi in dois if lacks(fields(doi), want)]


def kept(documents: Iterable[Document], want: Want) -> list[Document]:
    """What of looked-up documents is used: no abstracts, unless they are wanted."""
    if want == "abstract":
        return list(documents)
    plain = (document.model_copy(update={"abstract": None}) for document in documents)
    return [document for document in plain if not document.is_bare]


class Supplements:
    """Adds to records what the index knows and they lack.

    An index that can't be read holds nothing up: it is told, once a minute.
    """

    def __init__(self, index: Finder, *, want: Want) -> None:
        self._index = index
        self._want = want
        self._told = -SAY_AGAIN_S

    def __call__(self, documents: Mapping[str, Document]) -> dict[str, Document]:
        """The documents by DOI, in their order, with what the index adds."""
        lacking = [doi for doi, d in documents.items() if lacks(d.metadata, self._want)]
        found = self._find(lacking) if lacking else {}
        return {
            doi: document.supplemented(kept(found[doi], self._want)) if doi in found else document
            for doi, document in documents.items()
        }

    def _find(self, dois: Sequence[str]) -> Mapping[str, list[Document]]:
        try:
            return self._index.find(dois)
        except WorkerError as error:
            if time.monotonic() - self._told >= SAY_AGAIN_S:
                self._told = time.monotonic()
                log.warning("records come without titles of the local index: %s", error)
            return {}
