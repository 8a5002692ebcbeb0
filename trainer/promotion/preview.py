"""What a promotion would change for those who search: the neighbours by the live and the new model.

Nothing is written: the live collection is searched as it is, and its records' texts go through the
new model a page at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import normalize
from schemas.model import collection_name, fields_of, render, shorten, text_from
from schemas.search import Answer, Hit, Question
from trainer.errors import PromotionRefused
from trainer.promotion.difference import document_of
from worker.model.loaded import Target
from worker.model.registry import Registry
from worker.search import Searcher
from worker.store.points import OF_DOI
from worker.store.protocol import VectorStore

NEIGHBOURS = 10
MOST_QUESTIONS = 1000  # the vectors and the neighbours of all are in memory at once
MOST_READ = 50_000  # records of the live collection: some minutes on two cores
CANDIDATES = 100  # of the live model for each question, where it isn't read whole


class Neighbour(NamedTuple):
    """A record near to a question: its cosine, and its title where it has one."""

    doi: str
    title: str
    score: float


class Preview(NamedTuple):
    """The neighbours of a DOI or a text under both models, best first.

    `live_refusal` and `new_refusal` are why a model has none.
    """

    subject: str
    title: str
    live: tuple[Neighbour, ...]
    new: tuple[Neighbour, ...]
    live_refusal: str
    new_refusal: str


class Previews(NamedTuple):
    """The answers, and among how many of the live collection's records the new ones were sought.

    Where `compared` is less than `points`, these are the first by their ids, which is by chance,
    and the live model's `CANDIDATES` nearest; `unread` of them have no text for the new model.
    """

    version: str
    collection: str
    points: int
    compared: int
    unread: int
    answers: tuple[Preview, ...]


class Previewer:
    """Looks at what another version would answer, on the store of a live collection."""

    def __init__(
        self,
        store: VectorStore,
        registry: Registry,
        *,
        alias: str,
        load: Callable[[str], Target],
        most_read: int = MOST_READ,
    ) -> None:
        self._store = store
        self._registry = registry
        self._alias = alias
        self._load = load
        self._most_read = most_read
        self._searcher = Searcher(store, alias=alias, load=load)

    def preview(
        self,
        version: str,
        questions: Sequence[Question],
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Previews:
        """What both models say of each question, at most 1,000; `on_progress` hears of records.

        Both compare as a search does: vectors made of text with their like. Raises
        `PromotionRefused` where nothing is live yet, `ModelError`, and what the store raises.
        """
        live = self._store.live(self._alias)
        if live is None:
            raise PromotionRefused("nothing is ingested yet")
        manifest = self._registry.get(version)[1]
        target = self._load(collection_name(self._alias, manifest.version))
        answers = list(self._searcher.answers(questions, k=NEIGHBOURS))
        nearest = _Nearest(answers, target)
        points, done = self._store.count(live), 0
        total = min(points, self._most_read)
        fields = {"doi", "title", "revision", *chain(*map(fields_of, target.templates))}
        read = self._read(live, sorted(fields)) if questions else ()
        for page in chain(read, self._candidates(questions) if points > total else ()):
            nearest.look(page)
            done = min(done + len(page), total)
            if on_progress is not None:
                on_progress(done, total)
        return Previews(
            manifest.version,
            live,
            points,
            compared=total,
            unread=len(nearest.unread),
            answers=tuple(map(_preview, answers, nearest.answers())),
        )

    def _read(self, live: str, fields: Sequence[str]) -> Iterator[list[Document]]:
        """The live collection's records, of a large one the first."""
        left = self._most_read
        for page in self._store.scan(live, fields):
            # Ids are hashes of the DOIs, and a scan is in their order: the first are a sample.
            payloads = [payload for _, payload in page[:left]]
            left -= len(payloads)
            yield [document_of(p) for p in payloads if p.get("revision")]  # others aren't doivec's
            if left == 0:
                return

    def _candidates(self, questions: Sequence[Question]) -> Iterator[list[Document]]:
        """What the live model finds near."""
        for answer in self._searcher.answers(questions, k=CANDIDATES):
            yield [document_of({"doi": hit.doi, **hit.metadata}) for hit in answer.hits]


class _Asked(NamedTuple):
    """A question as the new model reads it: what is left out of its neighbours, and its kind."""

    text: str | None
    without: str
    of_text: bool


class _Nearest:
    """The nearest of all documents that were looked at, to each question."""

    def __init__(self, answers: Sequence[Answer], target: Target) -> None:
        self._templates, self._encoder = target.templates, target.encoder
        self._asked = [_asked(answer, target.templates) for answer in answers]
        self._places = [n for n, asked in enumerate(self._asked) if asked.text is not None]
        texts = [asked.text for asked in self._asked if asked.text is not None]
        self._vectors = self._encoder.encode(texts) if texts else None
        self._best: list[dict[str, Neighbour]] = [{} for _ in answers]
        self.unread = set[str]()  # the DOIs of what has no text

    def look(self, documents: Sequence[Document]) -> None:
        """Compare some more; one that was looked at before changes nothing."""
        read = [(d, t) for d in documents if (t := render(d, self._templates)) is not None]
        self.unread |= {d.doi for d in documents} - {d.doi for d, _ in read}
        if not read or self._vectors is None:
            return
        found = [document for document, _ in read]
        kinds = np.array([_is_of_text(document, self._templates) for document in found], bool)
        scores = self._vectors @ self._encoder.encode([text for _, text in read]).T
        for place, row in zip(self._places, scores, strict=True):
            row[kinds != self._asked[place].of_text] = -np.inf
            self._merge(place, row, found)

    def answers(self) -> Iterator[tuple[tuple[Neighbour, ...], str]]:
        """For each question its neighbours, or why it has none."""
        for best, asked in zip(self._best, self._asked, strict=True):
            refusal = "" if asked.text is not None else "the new model reads nothing of it"
            yield tuple(best.values()), refusal

    def _merge(self, place: int, row: NDArray[np.float32], found: Sequence[Document]) -> None:
        best, without = self._best[place], self._asked[place].without
        for column in np.argsort(-row, kind="stable")[: NEIGHBOURS + 1]:
            document = found[column]
            if np.isfinite(row[column]) and document.doi != without:
                near = Neighbour(document.doi, document.title or "", float(row[column]))
                best.setdefault(document.doi, near)
        order = sorted(best.values(), key=lambda near: (-near.score, near.doi))
        self._best[place] = {near.doi: near for near in islice(order, NEIGHBOURS)}


def _asked(answer: Answer, templates: Sequence[str]) -> _Asked:
    if not answer.is_doi:
        return _Asked(shorten(answer.subject) if answer.of_text else None, "", of_text=True)
    try:
        normalize(answer.subject)
    except ValueError:
        return _Asked(None, "", of_text=False)
    document = document_of(answer.known or {"doi": answer.subject})
    of_text = _is_of_text(document, templates)
    return _Asked(render(document, templates), document.doi, of_text)


def _is_of_text(document: Document, templates: Sequence[str]) -> bool:
    return text_from(document, templates) != OF_DOI


def _preview(answer: Answer, new: tuple[Iterable[Neighbour], str]) -> Preview:
    neighbours, refusal = new
    return Preview(
        answer.subject,
        str((answer.known or {}).get("title") or ""),
        live=tuple(map(_neighbour, answer.hits)),
        new=tuple(neighbours),
        live_refusal=answer.refusal,
        new_refusal=refusal,
    )


def _neighbour(hit: Hit) -> Neighbour:
    return Neighbour(hit.doi, str(hit.metadata.get("title") or ""), hit.score)
