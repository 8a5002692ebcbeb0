"""A DOI or a text in, similar DOIs out."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import normalize, point_id
from schemas.model import render, shorten, text_from
from schemas.search import Answer, Filter, Hit, Question
from worker.errors import CollectionMissing, Unanswerable
from worker.model.loaded import Target
from worker.sources.parsing import attempt
from worker.store.points import OF_DOI, TEXT_FROM, queries_a_call
from worker.store.protocol import Query, VectorStore

SURROGATE = re.compile("[\ud800-\udfff]")  # what Python makes of bytes that are not UTF-8
Vector = NDArray[np.float32]
Placed = tuple[Answer, Vector | None]  # a question with its vector, once it has one


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
        only: Filter | None = None,
        all_kinds: bool = False,
    ) -> list[Hit]:
        """The `k` records nearest to a DOI (itself left out) or to a text, best first.

        See `answers` for what is compared with what. Raises `schemas.doi.InvalidDoi`,
        `InternalError`, `Unanswerable`, `StoreUnavailable` and `ModelError`.
        """
        if (doi is None) == (text is None):
            raise Unanswerable("give a DOI or a text, one of the two")
        if doi is not None:
            attempt(normalize, doi)
        (answer,) = self.answers([Question(doi, text)], k=k, only=only, all_kinds=all_kinds)
        if answer.refusal:
            raise Unanswerable(answer.refusal)
        return list(answer.hits)

    def answers(
        self,
        questions: Iterable[Question],
        *,
        k: int = 10,
        only: Filter | None = None,
        all_kinds: bool = False,
    ) -> Iterator[Answer]:
        """An answer to each question, in their order, a few at a time.

        `only` says which records may be among the hits. A text is compared with vectors made of
        text, a DOI with vectors of its own kind (see `Filter`), each with all where `all_kinds`.
        A DOI that isn't in the collection is compared by what the model reads of it.

        Raises `Unanswerable` where nothing is ingested, `StoreUnavailable` and `ModelError`.
        """
        if k < 1:
            raise Unanswerable(f"k is {k}; at least one hit must be asked for")
        left = iter(questions)
        while page := list(islice(left, queries_a_call(k))):
            asked = [_understood(question) for question in page]
            try:
                found = self._answered(asked, k, only=only or Filter(), all_kinds=all_kinds)
            except CollectionMissing:  # the alias moved on, and its old collection is gone
                found = self._answered(asked, k, only=only or Filter(), all_kinds=all_kinds)
            yield from found

    def _answered(
        self, asked: Sequence[Answer], k: int, *, only: Filter, all_kinds: bool
    ) -> list[Answer]:
        # The alias is resolved once, so that the queries, their model and their answers are of
        # one collection, across a switch too.
        collection = self._store.live(self._alias)
        if collection is None:
            raise Unanswerable(f"nothing is ingested yet: there is no alias {self._alias!r}")
        placed = self._embedded(collection, self._looked_up(collection, asked))
        queries = [
            Query(
                vector,
                only if all_kinds else only._replace(of_text=answer.of_text),
                without=point_id(answer.subject) if answer.is_doi else None,
            )
            for answer, vector in placed
            if vector is not None
        ]
        found = iter(self._store.query(collection, queries, k=k) if queries else ())
        return [a if vector is None else a._replace(hits=next(found)) for a, vector in placed]

    def _looked_up(self, collection: str, asked: Sequence[Answer]) -> list[Placed]:
        ids = [point_id(answer.subject) for answer in asked if _is_named(answer)]
        points = self._store.points(collection, ids) if ids else {}
        placed: list[Placed] = []
        for answer in asked:
            there = points.get(point_id(answer.subject)) if _is_named(answer) else None
            if there is None:
                placed.append((answer, None))
            else:
                known, vector = there
                placed.append((answer._replace(known=known, of_text=_is_of_text(known)), vector))
        return placed

    def _embedded(self, collection: str, placed: list[Placed]) -> list[Placed]:
        """The same, with vectors for what has none yet, made by the collection's model at once."""
        lacking = [answer for answer, vector in placed if vector is None and not answer.refusal]
        if not lacking:
            return placed
        model = self._model(collection)
        read = [_read(answer, model.templates) for answer in lacking]
        texts = [text for _, text in read if text is not None]
        vectors = iter(model.encoder.encode(texts) if texts else ())
        made = iter([(a, None if text is None else next(vectors)) for a, text in read])
        return [
            (answer, vector) if vector is not None or answer.refusal else next(made)
            for answer, vector in placed
        ]


def _understood(question: Question) -> Answer:
    """The question, canonical; where it can't be answered, with the reason."""
    if question.doi is not None:
        try:
            return Answer(attempt(normalize, question.doi), is_doi=True)
        except ValueError as error:
            return Answer(question.doi, is_doi=True, refusal=f"no DOI: {error}")
    text = (question.text or "").strip()
    if not text:
        return Answer(text, is_doi=False, refusal="an empty text")
    if SURROGATE.search(text):
        return Answer(text, is_doi=False, refusal="a text that is not Unicode")
    return Answer(text, is_doi=False, of_text=True)


def _is_named(answer: Answer) -> bool:
    return answer.is_doi and not answer.refusal


def _is_of_text(known: Mapping[str, Any]) -> bool | None:
    """Of which kind a stored vector is; None where its payload doesn't say."""
    return known[TEXT_FROM] != OF_DOI if TEXT_FROM in known else None


def _read(answer: Answer, templates: Sequence[str]) -> tuple[Answer, str | None]:
    """What a model reads of a text, or of a DOI that isn't stored; None where that is nothing."""
    if not answer.is_doi:
        return answer, shorten(answer.subject)
    document = Document(doi=answer.subject)
    text = render(document, templates)
    if text is not None:
        return answer._replace(of_text=text_from(document, templates) != OF_DOI), text
    refusal = (
        f"{answer.subject} is not in the collection, and its model reads more than a DOI: "
        "search with a text, such as the title"
    )
    return answer._replace(refusal=refusal), None
