"""What is compared with what, on both stores, with a real (tiny) model."""

import uuid
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import InvalidDoi, point_id
from schemas.model import render, text_from
from schemas.search import Filter, Hit, Question, Years
from tests.support.vectors import NOW, payload
from worker.errors import Unanswerable
from worker.model.embedder import Embedder
from worker.model.loaded import Target
from worker.search import Searcher
from worker.store.protocol import VectorStore, Write

TEMPLATES = ("{title}. {abstract}", "{title}", "{doi}")
PAPERS = [
    Document(doi="10.1056/t1", title="Bupropion for smoking cessation", year=1997, venue="NEJM"),
    Document(doi="10.1056/t2", title="Thyrotoxicosis", year=2003, venue="Lancet"),
    Document(doi="10.1016/t3", title="Cessation", abstract="Of smoking.", year=2015, venue="NEJM"),
]
BARE = [Document(doi=f"10.1103/physrevlett.{n}") for n in range(3)]
QUESTION = "smoking cessation with bupropion"


class Counting:
    """A real encoder that keeps how many texts each call had."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.calls: list[int] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(len(texts))
        return self._embedder.encode(texts)


class Bench:
    """A collection behind an alias, its model, and a searcher on it."""

    def __init__(self, store: VectorStore, embedder: Embedder) -> None:
        self.alias = f"a{uuid.uuid4().hex[:8]}"
        self.collection = f"{self.alias}-{'0' * 16}"
        self.store, self.encoder = store, Counting(embedder)
        self.templates: tuple[str, ...] = TEMPLATES
        store.create(self.collection, dimension=32)
        store.publish([self.alias], collection=self.collection)
        self.searcher = Searcher(store, alias=self.alias, load=self.target)

    def target(self, collection: str) -> Target:
        return Target(collection, self.templates, self.encoder)

    def put(self, documents: Sequence[Document], *, says: bool = True) -> None:
        """Store documents as a worker does; unless `says`, as it did before `text_from`."""
        texts = [render(d, self.templates) or "" for d in documents]
        made_of = [{"text_from": text_from(d, self.templates)} if says else {} for d in documents]
        whole = [payload(document, sequence=NOW) for document in documents]
        for said in whole:
            del said["text_from"]
        given = [said | m for said, m in zip(whole, made_of, strict=True)]
        write = Write([point_id(d.doi) for d in documents], self.encoder.encode(texts), given)
        self.store.upsert(self.collection, write, revisions=())
        self.encoder.calls.clear()


@pytest.fixture
def bench(store: VectorStore, embedder: Embedder) -> Bench:
    made = Bench(store, embedder)
    made.put([*PAPERS, *BARE])
    return made


def dois(hits: Sequence[Hit]) -> set[str]:
    return {hit.doi for hit in hits}


def dois_of(documents: Sequence[Document]) -> set[str]:
    return {document.doi for document in documents}


def test_a_text_is_compared_with_vectors_of_text_alone_unless_it_asks_for_all(bench: Bench) -> None:
    assert dois(bench.searcher.search(text=QUESTION)) == dois_of(PAPERS)
    wide = bench.searcher.search(text=QUESTION, all_kinds=True)
    assert dois(wide) == dois_of([*PAPERS, *BARE])


@pytest.mark.parametrize(("own", "kind"), [(PAPERS[2], PAPERS), (BARE[0], BARE)])
def test_a_doi_is_compared_with_its_own_kind_and_never_with_itself(
    bench: Bench, own: Document, kind: Sequence[Document]
) -> None:
    assert dois(bench.searcher.search(own.doi)) == dois_of(kind) - {own.doi}
    assert bench.encoder.calls == [], "a stored vector needs no model"
    wide = bench.searcher.search(own.doi, all_kinds=True)
    assert dois(wide) == dois_of([*PAPERS, *BARE]) - {own.doi}


def test_a_doi_that_is_not_there_is_compared_by_its_string(bench: Bench) -> None:
    (answer,) = bench.searcher.answers([Question(doi="https://doi.org/10.1103/PhysRevLett.77")])
    assert (answer.subject, answer.known, answer.of_text) == ("10.1103/physrevlett.77", None, False)
    assert dois(answer.hits) == dois_of(BARE)


def test_points_that_do_not_say_what_they_are_made_of_are_compared_as_ever(bench: Bench) -> None:
    old = Document(doi="10.1056/old")
    bench.put([old], says=False)
    assert dois(bench.searcher.search(old.doi)) == dois_of([*PAPERS, *BARE])
    assert dois(bench.searcher.search(text=QUESTION)) == dois_of([*PAPERS, old])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"registrant": "10.1056"}, PAPERS[:2]),
        ({"venue": "NEJM"}, [PAPERS[0], PAPERS[2]]),
        ({"year": 2003}, PAPERS[1:2]),
        ({"year": "2000-"}, PAPERS[1:]),
        ({"venue": "NEJM", "year": "-2000"}, PAPERS[:1]),
        ({"registrant": "10.9999"}, []),
    ],
    ids=str,
)
def test_filters(bench: Bench, words: dict[str, str], expected: Sequence[Document]) -> None:
    only = Filter.read(**words)
    assert dois(bench.searcher.search(text=QUESTION, only=only)) == dois_of(expected)


def test_many_questions_have_their_answers_in_order_and_few_calls_of_the_model(
    bench: Bench,
) -> None:
    texts = [Question(text=f"question {n}") for n in range(70)]
    asked = [*texts, Question(doi=PAPERS[0].doi), Question(doi="10.1103/a b, 10.1103/c"), *texts]
    answers = list(bench.searcher.answers(iter(asked), k=2))
    assert [a.subject for a in answers[:70]] == [q.text for q in texts]
    assert answers[:70] == answers[72:]
    assert (
        answers[70].known
        == bench.store.payloads(bench.collection, [point_id(PAPERS[0].doi)])[
            point_id(PAPERS[0].doi)
        ]
    )
    assert answers[71].refusal.startswith("no DOI: ")
    alone = [bench.searcher.search(q.doi, text=q.text, k=2) for q in asked if q is not asked[71]]
    scores = [hit.score for a in answers for hit in a.hits]
    assert scores == pytest.approx([hit.score for hits in alone for hit in hits], abs=1e-6)
    assert bench.encoder.calls[:3] == [64, 62, 14]


REFUSED: list[tuple[Callable[[Searcher], object], str]] = [
    (lambda s: s.search(), "a DOI or a text"),
    (lambda s: s.search("10.1000/1", text="t"), "a DOI or a text"),
    (lambda s: s.search(text=" \n"), "an empty text"),
    (lambda s: s.search(text="a\udcff"), "not Unicode"),
    (lambda s: s.search(text="t", k=0), "at least one"),
]


@pytest.mark.parametrize(("ask", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_no_question_is_refused(
    bench: Bench, ask: Callable[[Searcher], object], words: str
) -> None:
    with pytest.raises(Unanswerable, match=words):
        ask(bench.searcher)


def test_what_is_no_doi_is_an_error_of_its_own(bench: Bench) -> None:
    with pytest.raises(InvalidDoi):
        bench.searcher.search("Array programming with NumPy")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2015", 2015, 2015),
        ("2015-2020", 2015, 2020),
        ("2015-", 2015, None),
        (" -2020", None, 2020),
    ],
)
def test_spans_of_years(text: str, first: int | None, last: int | None) -> None:
    assert Years.read(text) == Years(first, last)


@pytest.mark.parametrize(
    "text", ["", "-", "2020-2015", "15 to 20", "2015--2020", "20150", "2015 2020"]
)
def test_what_is_no_span_of_years(text: str) -> None:
    with pytest.raises(ValueError, match="year"):
        Filter.read(year=text)


@pytest.mark.parametrize("text", ["", "Nature", "10.", "10.1038/", "1038", "10.103", "10.1038/x"])
def test_what_is_no_registrant(text: str) -> None:
    with pytest.raises(ValueError, match="is no registrant"):
        Filter.read(registrant=text)


@pytest.mark.parametrize(
    ("line", "is_doi"),
    [
        ("10.1038/nphys1170", True),
        ("  doi: 10.1038/nphys1170", True),
        ("DOI 10.1000.10/123456", True),
        ("https://www.nature.com/articles/10.1038/NPHYS1170", True),
        ("info:doi/10.1038/nphys1170", True),
        ("10.1038/damaged one, 10.1038/two", True),
        ("Array programming with NumPy", False),
        ("10.5 million years of climate", False),
        ("What 10.1038/nphys1170 found", False),
    ],
)
def test_a_line_is_a_doi_where_its_first_word_looks_like_one(line: str, *, is_doi: bool) -> None:
    question = Question.read(line)
    assert question == (Question(doi=line) if is_doi else Question(text=line))
