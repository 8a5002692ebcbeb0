"""Answers, recorded and made, and what is left of them when they are damaged."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest

from tests.support import registry_records as shapes
from tests.support.paths import DATA
from worker.errors import RegistryUnavailable
from worker.metadata.answers import Answers
from worker.metadata.registries import crossref, datacite, openalex
from worker.metadata.registries.bodies import Malformed
from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue
from worker.metadata.registries.client import Reply

APIS = DATA / "apis"
MANNERS = {one.MANNER.name: one.MANNER for one in (crossref, openalex, datacite)}
NAMES = pytest.mark.parametrize("name", MANNERS)
SHAPES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "crossref": (shapes.crossref_work, shapes.crossref_list),
    "openalex": (shapes.openalex_work, shapes.openalex_list),
    "datacite": (shapes.datacite_doi, shapes.datacite_list),
}
RNG = random.Random(12)
DOIS = [f"10.1000/{n}" for n in range(4)]
WRONG: list[Any] = [
    *(None, True, 0, -1, 1e999, float("nan"), "", "\ud800", "\x00", [], [[]], {}, {"a": []}),
    *(2**70, "10.1000/9", ["10.1000/0", "10.1000/1"], {"title": "x"}, [None], "x" * 3000),
]


class Told:
    """A client that has one answer: to lists, or to single DOIs."""

    def __init__(self, body: bytes, *, to: str) -> None:
        self.body = body
        self.to = to

    def get(self, path: str, *, kind: str, read: Callable[[bytes], Any], **_: Any) -> Reply:
        """The body, read."""
        assert path.startswith("/")
        if kind != self.to:
            raise RegistryUnavailable("not asked for")
        try:
            return Reply(200, read(self.body))
        except Malformed as error:
            raise RegistryUnavailable(str(error)) from error


def asked(name: str, body: bytes, dois: Sequence[str]) -> Answers:
    """What is made of a body as the answer to DOIs; nothing of one that is no answer."""
    client: Any = Told(body, to=ALONE if len(dois) == 1 else LIST)
    with suppress(RegistryUnavailable):
        return Catalogue(MANNERS[name], client, url="").ask(dois)
    return Answers({}, set())


def right(name: str, known: Sequence[str]) -> Any:
    record, together = SHAPES[name]
    fields = {"year": 2001, "venue": "A Journal", "abstract": "Two words."}
    return together([record(doi, {"title": f"On {doi}", **fields}) for doi in known])


def check(answers: Answers, dois: Sequence[str], *, known: Sequence[str]) -> None:
    """No title is given to another DOI, and none that is known is absent."""
    assert answers.found.keys() <= set(dois)
    assert not answers.absent & answers.found.keys()
    assert not answers.absent & set(known), answers
    for doi, answer in answers.found.items():
        assert answer.document.doi == doi
        others = {f"On {other}" for other in known if other != doi}
        assert answer.document.title not in others


@NAMES
def test_a_list_cut_anywhere_is_no_answer(name: str) -> None:
    body = json.dumps(right(name, DOIS[:3])).encode()
    assert set(asked(name, body, DOIS).found) == set(DOIS[:3])
    for end in range(len(body)):
        assert asked(name, body[:end], DOIS) == Answers({}, set())


@NAMES
def test_any_part_may_be_of_another_kind(name: str) -> None:
    for wrong in WRONG:
        for value in shapes.mangled(right(name, DOIS[:2]), lambda _, wrong=wrong: wrong):
            body = json.dumps(value).encode()
            check(asked(name, body, DOIS), DOIS, known=DOIS[:2])
            check(asked(name, body, DOIS[:1]), DOIS[:1], known=DOIS[:2])


@NAMES
def test_any_part_may_be_missing_or_there_twice(name: str) -> None:
    for value in without_a_part(right(name, DOIS[:3])):
        check(asked(name, json.dumps(value).encode(), DOIS), DOIS, known=DOIS[:3])


def without_a_part(value: Any) -> Iterator[Any]:
    """The value without each of its parts in turn, and in lists with each part twice."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            yield from ({**value, key: less} for less in without_a_part(part))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield value[:place] + value[place + 1 :]
            yield [*value, part]
            yield from (
                [*value[:place], less, *value[place + 1 :]] for less in without_a_part(part)
            )


@NAMES
def test_bytes_may_be_damaged(name: str) -> None:
    body = json.dumps(right(name, DOIS[:3])).encode()
    for _ in range(3000):
        damaged = bytearray(body)
        for _ in range(RNG.randint(1, 4)):
            damaged[RNG.randrange(len(damaged))] = RNG.randrange(256)
        answers = asked(name, bytes(damaged), DOIS[:3])
        assert answers.found.keys() <= set(DOIS)
        assert not answers.absent or b"10.1000" in damaged


def test_a_name_that_is_there_twice_gives_nobody_anothers_title() -> None:
    two = '{"DOI": "10.1000/0", "title": ["On 10.1000/0"], "DOI": "10.1000/1"}'
    body = '{"message": {"total-results": 1, "items": [%s]}}' % two  # noqa: UP031
    assert asked("crossref", body.encode(), DOIS[:1]).found == {}


def recordings(pattern: str) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted(APIS.glob(pattern))]


needs_data = pytest.mark.skipif(not APIS.exists(), reason="the recorded answers are not here")


@needs_data
@pytest.mark.parametrize("name", ["crossref", "openalex"])
def test_a_recorded_list_answers_for_all_its_dois(name: str) -> None:
    (recorded,) = recordings(f"{name}/list_filter_doi_batch.json")
    manner = MANNERS[name]
    dois = [
        str(answer.document.doi)
        for row in manner.rows(recorded).records
        if (answer := manner.answer(row))
    ]
    answers = asked(name, json.dumps(recorded).encode(), [*dois, "10.1000/unknown"])
    assert set(answers.found) == set(dois)
    assert answers.absent == {"10.1000/unknown"}
    assert len(dois) >= 5
    assert all(answer.document.title or name == "crossref" for answer in answers.found.values())


@needs_data
@pytest.mark.parametrize(
    ("name", "pattern"),
    [("crossref", "work_*"), ("openalex", "http_200_work_*"), ("datacite", "http_200_*")],
)
def test_each_recorded_record_answers_for_its_own_doi(name: str, pattern: str) -> None:
    found = recordings(f"{name}/{pattern}.json")
    assert len(found) >= 5
    for recorded in found:
        body = recorded.get("body", recorded)
        answer = MANNERS[name].answer(MANNERS[name].row(body))
        assert answer is not None
        doi = answer.document.doi
        assert asked(name, json.dumps(body).encode(), [doi]).found == {doi: answer}
        assert asked(name, json.dumps(body).encode(), ["10.1000/another"]) == Answers({}, set())
        for wrong in WRONG:
            damaged = shapes.mangled(body, lambda _, wrong=wrong: wrong)
            for value in islice(damaged, RNG.randrange(40), None, 40):  # all take a minute
                answers = asked(name, json.dumps(value).encode(), [doi])
                assert answers.found.keys() <= {doi}
                assert not answers.absent


@needs_data
def test_recorded_errors_are_no_answers() -> None:
    for recorded in recordings("*/http_4*.json") + recordings("*/made_4*.json"):
        body = recorded["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        for name in MANNERS:
            assert asked(name, raw, DOIS) == Answers({}, set())
