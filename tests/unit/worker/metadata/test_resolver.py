"""Looking DOIs up at one registry after the other, with a real index."""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from schemas.document import Document
from worker.errors import RegistryBlocked, RegistryRefused, RegistryUnavailable, WorkerError
from worker.metadata.answers import Answer, Answers
from worker.metadata.index import Index
from worker.metadata.memory import Spending, noted
from worker.metadata.resolver import DAY_S, Resolver
from worker.settings.metadata import MetadataSettings

NOW = 1.8e9
DOIS = [f"10.1000/{number}" for number in range(2500)]


class Shelf:
    """A registry that knows some DOIs, and counts what it is asked for."""

    def __init__(self, name: str, known: dict[str, Document], *, most: int = 100) -> None:
        self.name = name
        self.most = most
        self.threads = 2
        self.known = known
        self.asked: Counter[str] = Counter()
        self.before: Callable[[Sequence[str]], None] = lambda _: None

    def ask(self, dois: Sequence[str]) -> Answers:
        """What it knows of them."""
        assert len(dois) <= self.most
        self.asked.update(dois)
        self.before(dois)
        found = {d: Answer(self.known[d], 5) for d in dois if d in self.known}
        return Answers(found, set(dois) - found.keys())

    def close(self) -> None:
        """Nothing."""


def titled(dois: Sequence[str], source: str, **more: str) -> dict[str, Document]:
    return {doi: Document(doi=doi, title=f"{source}'s", source=source, **more) for doi in dois}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "metadata.sqlite")


class Desk:
    """Resolvers on one index, at a time that a test sets."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.now = NOW
        self._made: list[Resolver] = []

    def resolver(self, *shelves: Shelf, want: str = "title") -> Resolver:
        settings = MetadataSettings.model_validate({"want": want})
        made = Resolver(self.index, shelves, settings=settings, clock=lambda: self.now)
        self._made.append(made)
        return made

    def look_up(self, dois: Sequence[str], *shelves: Shelf, want: str = "title") -> Counter[str]:
        resolver = self.resolver(*shelves, want=want)
        list(resolver.resolve(dois))
        return resolver.tally

    def close(self) -> None:
        for made in self._made:
            made.close()


def documents(resolver: Resolver, dois: Sequence[str]) -> list[Document]:
    """What is found of DOIs, a document each."""
    found = [documents for page in resolver.resolve(dois) for documents in page.found.values()]
    return [first.supplemented(others) for first, *others in found]


@pytest.fixture
def desk(index: Index) -> Iterator[Desk]:
    made = Desk(index)
    yield made
    made.close()


def test_one_registry_is_asked_after_the_other_for_what_is_left(desk: Desk) -> None:
    crossref = Shelf("crossref", titled(DOIS[:1000], "crossref"), most=50)
    openalex = Shelf("openalex", titled(DOIS[500:2000], "openalex"))
    resolver = desk.resolver(crossref, openalex)
    pages = list(resolver.resolve(iter(DOIS)))
    assert [doi for page in pages for doi in page.dois] == DOIS
    found = {doi: documents for page in pages for doi, documents in page.found.items()}
    assert list(found) == DOIS[:2000]
    assert {d.source for doi in DOIS[:1000] for d in found[doi]} == {"crossref"}
    assert {d.source for doi in DOIS[1000:2000] for d in found[doi]} == {"openalex"}
    assert crossref.asked == Counter(DOIS)
    assert openalex.asked == Counter(DOIS[1000:])
    assert resolver.tally == {
        "looked_up": 2500,
        "found": 2000,
        "known": 0,
        "unanswered": 0,
        "asked:crossref": 2500,
        "found:crossref": 1000,
        "absent:crossref": 1500,
        "asked:openalex": 1500,
        "found:openalex": 1000,
        "absent:openalex": 500,
    }


def test_nothing_is_asked_twice_until_its_answer_has_expired(desk: Desk) -> None:
    dois = [*DOIS[:10], "10.1000/j.2027.1", "10.1000/j.2026.1"]  # NOW is in 2027
    shelf = Shelf("crossref", titled(DOIS[:5], "crossref"))
    assert desk.look_up(dois, shelf)["known"] == 0
    assert desk.look_up(dois, shelf)["known"] == 5
    assert shelf.asked == Counter(dois)
    desk.now = NOW + 9 * DAY_S
    desk.look_up(dois, shelf)
    assert shelf.asked == Counter(dois + dois[10:])
    desk.now = NOW + 37 * DAY_S
    desk.look_up(dois, shelf)
    assert shelf.asked == Counter(dois + dois[10:] * 2 + DOIS[5:10])


def test_who_does_not_answer_is_left_alone_and_the_others_are_asked(desk: Desk) -> None:
    def fail(_: Sequence[str]) -> None:
        raise RegistryUnavailable("no answer")

    crossref = Shelf("crossref", titled(DOIS, "crossref"))
    openalex = Shelf("openalex", titled(DOIS[:400], "openalex"))
    crossref.before = fail
    resolver = desk.resolver(crossref, openalex)
    found = [d for page in resolver.resolve(DOIS[:1000]) for d in page.found]
    assert found == DOIS[:400]
    assert crossref.asked.total() <= 200, "what was under way, and no more"
    assert resolver.tally["unanswered"] == 600
    assert resolver.resting["crossref"].why == "no answer"
    crossref.before = lambda _: None
    assert desk.look_up(DOIS[:1000], crossref, openalex)["found"] == 1000
    assert max(openalex.asked.values()) == 1


@pytest.mark.parametrize(
    ("error", "until"),
    [
        (RegistryBlocked("the budget is spent", NOW + 1000), NOW + 1000),
        (RegistryRefused("blocked by hand"), float("inf")),
    ],
)
def test_who_refuses_is_not_asked_until_it_may_be(
    desk: Desk, error: Exception, until: float
) -> None:
    def refuse(_: Sequence[str]) -> None:
        raise error

    shelf = Shelf("openalex", titled(DOIS, "openalex"), most=10)
    shelf.before = refuse
    resolver = desk.resolver(shelf)
    list(resolver.resolve(DOIS))
    asked = shelf.asked.total()
    assert asked <= 20
    assert resolver.resting_now()["openalex"].until == until
    resolver.note(lacking=2500)
    said = noted(desk.index)
    assert said["lacking"] == said["unanswered"] == 2500
    assert said["resting"]["openalex"]["why"] == str(error)
    desk.now = NOW + 999
    list(resolver.resolve(DOIS[:10]))
    assert shelf.asked.total() == asked
    desk.now, shelf.before = NOW + 1001, lambda _: None
    list(resolver.resolve(DOIS[:10]))
    assert shelf.asked.total() == asked + (10 if until < float("inf") else 0)


def test_abstracts_are_looked_up_where_they_are_wanted(desk: Desk) -> None:
    crossref = Shelf("crossref", titled(DOIS[:2], "crossref"))
    openalex = Shelf("openalex", titled(DOIS[:2], "openalex", abstract="What it is about."))
    assert desk.look_up(DOIS[:2], crossref, openalex)["asked:openalex"] == 0
    wanting = desk.resolver(crossref, openalex, want="abstract")
    (document, _) = documents(wanting, DOIS[:2])
    assert document.metadata == {"title": "crossref's", "abstract": "What it is about."}
    assert (document.source, document.supplied) == ("crossref", {"abstract": "openalex"})
    (plain, _) = documents(desk.resolver(crossref, openalex), DOIS[:2])
    assert plain.metadata == {"title": "crossref's"}


def test_a_record_without_a_title_counts_as_found_without_one(desk: Desk) -> None:
    untitled = {doi: Document(doi=doi, year=2001, source="crossref") for doi in DOIS[:2]}
    crossref = Shelf("crossref", untitled)
    openalex = Shelf("openalex", titled(DOIS[:1], "openalex"))
    resolver = desk.resolver(crossref, openalex)
    found = {d.doi: d.metadata for d in documents(resolver, DOIS[:2])}
    assert found == {DOIS[0]: {"title": "openalex's", "year": 2001}, DOIS[1]: {"year": 2001}}
    assert resolver.tally["found"] == 1
    assert resolver.tally["found:crossref"] == 2


def test_an_answer_is_kept_before_it_is_given_back(desk: Desk) -> None:
    shelf = Shelf("crossref", titled(DOIS, "crossref"), most=10)
    resolver = desk.resolver(shelf)
    pages = resolver.resolve(DOIS)
    page = next(pages)
    assert Index(desk.index.path).find(page.dois).keys() == set(page.dois)
    pages.close()
    resolver.close()
    desk.look_up(DOIS, shelf)
    assert max(shelf.asked.values()) == 1


def test_a_day_costs_what_it_may_and_the_next_begins_anew(index: Index) -> None:
    spending = Spending(index, usd_a_day=0.001)
    assert [spending.take(0.0001, NOW) for _ in range(12)] == [True] * 10 + [False] * 2
    again = Spending(index, usd_a_day=0.001)
    assert not again.take(0.0001, NOW)
    assert again.spent(NOW) == pytest.approx(0.001)
    assert again.take(0.0001, NOW + DAY_S)


def test_a_doi_that_an_answering_registry_leaves_open_is_asked_for_again_in_an_hour(
    desk: Desk,
) -> None:
    class Deaf(Shelf):
        def ask(self, dois: Sequence[str]) -> Answers:
            found, absent = super().ask(dois)
            return Answers(found, absent - {DOIS[0]})

    shelf = Deaf("agency", titled(DOIS[1:5], "agency"))
    resolver = desk.resolver(shelf)
    for _ in range(3):
        list(resolver.resolve(DOIS[:10]))
    assert shelf.asked == Counter(DOIS[:10])
    assert resolver.tally["unanswered"] == 3
    desk.now = NOW + 3601
    list(resolver.resolve(DOIS[:10]))
    assert shelf.asked == Counter(DOIS[:10] + DOIS[:1])


def test_no_abstract_is_kept_unless_it_is_wanted_and_then_it_is_asked_for(desk: Desk) -> None:
    shelf = Shelf("crossref", titled(DOIS[:2], "crossref", abstract="What it is about."))
    desk.look_up(DOIS[:3], shelf)
    assert not any("abstract" in d.metadata for ds in desk.index.find(DOIS).values() for d in ds)
    desk.now += 10
    assert desk.look_up(DOIS[:3], shelf, want="abstract")["found"] == 2
    assert shelf.asked == Counter(DOIS[:2] * 2 + DOIS[2:3]), "not for what nobody knew"
    assert desk.look_up(DOIS[:3], shelf, want="abstract")["known"] == 2
    shelf.known[DOIS[0]] = Document(doi=DOIS[0], title="T", source="crossref")
    desk.index.forget(DOIS[:1])
    for _ in range(2):
        desk.look_up(DOIS[:1], shelf, want="abstract")
    assert shelf.asked[DOIS[0]] == 3, "one without an abstract is not asked for in every pass"


def test_a_doi_that_comes_again_in_a_list_is_asked_for_once(desk: Desk) -> None:
    shelf = Shelf("crossref", titled(DOIS[:900], "crossref"))
    shelf.before = lambda _: time.sleep(0.01)
    pages = list(desk.resolver(shelf).resolve(DOIS[:1000] * 3))
    assert set(shelf.asked.values()) == {1}
    assert [len(page.found) for page in pages] == [900] * 3


def test_where_nothing_can_be_kept_nobody_is_asked_on(desk: Desk) -> None:
    shelf = Shelf("crossref", titled(DOIS, "crossref"), most=10)
    resolver = desk.resolver(shelf)
    resolver.begin(lacking=len(DOIS))
    with sqlite3.connect(desk.index.path) as file:
        file.execute(
            "CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT raise(ABORT, 'full'); END"
        )
    with pytest.raises(WorkerError):
        list(resolver.resolve(DOIS))
    assert shelf.asked.total() <= 6 * shelf.most, "what was under way"
