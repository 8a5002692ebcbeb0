"""What the live collection and the local index know of DOIs, taken into the trainer's store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

from schemas.document import Document
from schemas.model import fields_of
from trainer.data.metadata import COLLECTION, GIVEN, INDEX, MetadataStore
from worker.contents import Contents
from worker.errors import WorkerError
from worker.metadata.supplements import Finder, kept
from worker.settings.metadata import Want
from worker.store.points import chunks

DOIS_A_PAGE = 256  # of records of 1 MiB at the most, and all in memory at once

Ask = Callable[[Sequence[str]], Mapping[str, Document]]


class Supplier:
    """Takes in what others know of DOIs, so that titles need to be given once.

    `open_contents` opens the live collection, None before there is one. What the index knows is
    used as in ingest: abstracts only where they are wanted.
    """

    def __init__(
        self,
        store: MetadataStore,
        *,
        open_contents: Callable[[], AbstractContextManager[Contents | None]],
        index: Finder,
        want: Want,
    ) -> None:
        self._store = store
        self._open_contents = open_contents
        self._index = index
        self._want = want

    def __call__(self, dois: Collection[str], *, templates: Sequence[str]) -> list[str]:
        """Take in what is known of canonical DOIs, where it was not given all that is read.

        Returns what a person is to hear: where the titles are from, and what could not be asked,
        which is no failure; nothing where the templates read DOIs alone. Raises `PairsError`.
        """
        fields = {field for template in templates for field in fields_of(template)} - {"doi"}
        if not fields:
            return []
        told = []
        asked = ((self._ask_collection, "live collection"), (self._ask_index, "index of metadata"))
        for ask, words in asked:
            try:
                ask(dois, fields)
            except WorkerError as error:
                told.append(f"the {words} was not asked for all texts: {error}")
        return [*told, self._spread(dois)]

    def _ask_collection(self, dois: Collection[str], fields: Collection[str]) -> None:
        with self._open_contents() as contents:
            if contents is not None:
                lacking = self._store.lacking(dois, fields, above=COLLECTION)
                pages = map(contents.documents, chunks(lacking, DOIS_A_PAGE))
                self._store.supply(COLLECTION, pages, origin=contents.collection)

    def _ask_index(self, dois: Collection[str], fields: Collection[str]) -> None:
        lacking = self._store.lacking(dois, fields, above=INDEX)
        self._store.supply(
            INDEX, map(self._find, chunks(lacking, DOIS_A_PAGE)), origin="metadata.sqlite"
        )

    def _find(self, dois: Sequence[str]) -> dict[str, Document]:
        return {
            doi: Document(doi=doi).supplemented(kept(found, self._want))
            for doi, found in self._index.find(dois).items()
        }

    def _spread(self, dois: Collection[str]) -> str:
        found = self._store.titled(dois)
        return (
            f"titles of {len(dois):,} DOIs: {found[GIVEN]:,} given, {found[COLLECTION]:,} from the "
            f"live collection, {found[INDEX]:,} from the index of metadata, "
            f"{len(dois) - found.total():,} unknown"
        )
