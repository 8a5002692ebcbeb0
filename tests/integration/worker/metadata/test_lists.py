"""Lists of DOIs at Crossref, OpenAlex and DataCite: who is asked for what, and what counts."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from tests.integration.worker.metadata.conftest import Open
from tests.support import registry_records as shapes
from tests.support.registries import (
    BLOCKED,
    HTML,
    JSON,
    MAINTENANCE,
    TEXT,
    TOO_MANY_BARE,
    TOO_MANY_HTML,
    Fault,
    Registries,
    Spending,
    budget_spent,
    changed,
    cut,
    instead,
    slow,
)
from worker.errors import RegistryBlocked, RegistryRefused, RegistryUnavailable

SHAPES = {
    "crossref": shapes.crossref_work,
    "openalex": shapes.openalex_work,
    "datacite": shapes.datacite_doi,
}
LISTS = pytest.mark.parametrize("name", SHAPES)
DOIS = [f"10.1000/a{n}" for n in range(12)]
KNOWN = [
    {"doi": doi, "title": f"On {doi}", "year": 1990 + n, "venue": "A Journal", "abstract": "Long."}
    for n, doi in enumerate(DOIS[:9])
]


@pytest.fixture
def stocked(server: Registries) -> Registries:
    """The server, where each registry knows the first nine of `DOIS`."""
    for name, shape in SHAPES.items():
        getattr(server, name).know(KNOWN, shape)
    return server


def titles(found: dict[str, Any]) -> dict[str, str | None]:
    return {doi: answer.document.title for doi, answer in found.items()}


RIGHT = {str(fields["doi"]): fields["title"] for fields in KNOWN}


@LISTS
def test_a_list_is_one_request_and_matched_by_doi(
    stocked: Registries, quick: Open, name: str
) -> None:
    answers = quick(name).ask(DOIS)
    fake = getattr(stocked, name)
    assert titles(answers.found) == RIGHT
    assert answers.absent == set(DOIS[9:])
    document = answers.found[DOIS[3]].document
    assert (document.year, document.venue, document.abstract) == (1993, "A Journal", "Long.")
    assert document.source == name
    assert len(fake.paths) == 1
    assert set(fake.asked.values()) == {1}


@LISTS
def test_as_many_go_into_a_request_as_it_takes(server: Registries, quick: Open, name: str) -> None:
    registry = quick(name)
    long = [f"10.1000/{'x' * 200}{n}" for n in range(20)]
    registry.ask([f"10.1000/{n}" for n in range(registry.most + 1)])
    registry.ask(long)
    fake = getattr(server, name)
    assert all(len(f"{server.url}{path}") <= 3500 for path in fake.paths)
    assert max(path.count("10.1000/") for path in fake.paths) == registry.most
    assert len(fake.paths) == 4
    assert set(fake.asked.values()) == {1}


@LISTS
@pytest.mark.parametrize(
    "doi", ["10.1001/jama.251.7.878,883", "10.1000/a&b", "10.1000/a%b", "10.1000/a'b!1"]
)
def test_what_no_list_carries_goes_alone(
    server: Registries, quick: Open, name: str, doi: str
) -> None:
    fake = getattr(server, name)
    fake.know([{"doi": doi, "title": "Alone"}, KNOWN[0], KNOWN[1]], SHAPES[name])
    answers = quick(name).ask([doi, DOIS[0], DOIS[1]])
    assert titles(answers.found) == {doi: "Alone", DOIS[0]: RIGHT[DOIS[0]], DOIS[1]: RIGHT[DOIS[1]]}
    assert len(fake.paths) == 2
    assert doi not in unquote(fake.paths[0])
    assert fake.paths[1].count("/") == 3, "its slash is escaped"


@LISTS
def test_dois_with_signs_are_carried_whole(server: Registries, quick: Open, name: str) -> None:
    dois = [
        "10.1002/(sici)1097-0258(19980815/30)17:15/16<1661::aid-sim968>3.0.co;2-2",
        "10.5067/terra+aqua/ceres/cldtyphist_l3.004",
        "10.1890/0012-9658(2006)87[2094:omsfsf]2.0.co;2",
        "10.1000/a#2",
        "10.1023/a:1007154515475",
    ]
    fake = getattr(server, name)
    fake.know([{"doi": doi.upper(), "title": doi} for doi in dois], SHAPES[name])
    assert titles(quick(name).ask(dois).found) == {doi: doi for doi in dois}
    assert len(fake.paths) == 1


@LISTS
def test_what_has_no_title_of_its_own_is_found(server: Registries, quick: Open, name: str) -> None:
    getattr(server, name).know([{"doi": DOIS[0]}, {"doi": DOIS[1], "year": 2001}], SHAPES[name])
    answers = quick(name).ask(DOIS[:3])
    assert titles(answers.found) == {DOIS[0]: None, DOIS[1]: None}
    assert answers.absent == {DOIS[2]}


def emptied(path: tuple[str, ...]) -> Callable[[Any], Any]:
    """Takes all but the first two records out of an answer to a list, and says nothing of it."""

    def change(body: Any) -> Any:
        holder = body
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = holder[path[-1]][:2]
        return body

    return change


PLACES = {"crossref": ("message", "items"), "openalex": ("results",), "datacite": ("data",)}


@LISTS
def test_what_a_part_of_an_answer_leaves_open_is_asked_alone(
    stocked: Registries, quick: Open, name: str
) -> None:
    fake = getattr(stocked, name)
    fake.faults.append(changed(emptied(PLACES[name])))
    answers = quick(name).ask(DOIS[6:])
    assert titles(answers.found) == {doi: RIGHT[doi] for doi in DOIS[6:9]}
    assert answers.absent == set(DOIS[9:])
    assert len(fake.paths) == 1 + 4


def others(body: Any) -> Any:
    """An answer to what nobody asked for."""
    return shapes.crossref_list(
        [shapes.crossref_work(f"10.9999/{n}", {"title": "Another's"}) for n in range(3)]
    )


def twice(body: Any) -> Any:
    """Each work twice, the first without a title."""
    items = body["message"]["items"]
    bare = [{**item, "title": []} for item in items]
    return shapes.crossref_list([*bare, *items])


def without_dois(body: Any) -> Any:
    for item in body["message"]["items"]:
        del item["DOI"]
    return body


def with_null(body: Any) -> Any:
    body["message"]["items"][0] = None
    return body


@pytest.mark.parametrize("change", [others, twice, without_dois, with_null])
def test_wrong_records_give_nobody_a_title_and_hide_nobody(
    stocked: Registries, quick: Open, change: Callable[[Any], Any]
) -> None:
    stocked.crossref.faults.append(changed(change))
    answers = quick("crossref").ask(DOIS)
    assert titles(answers.found) == RIGHT
    assert answers.absent == set(DOIS[9:])


ONCE: dict[str, Fault] = {
    "429 bare": TOO_MANY_BARE,
    "429 html": TOO_MANY_HTML,
    "maintenance": MAINTENANCE,
    "cut": cut,
    "503": instead("no", 503, TEXT),
    "500 json": instead({"message": []}, 500, JSON),
    "empty": instead(b"", 200, JSON),
    "null": instead(None, 200, JSON),
    "a list": instead([], 200, JSON),
    "items of another kind": instead({"message": {"items": {}, "total-results": 0}}, 200, JSON),
    "no total": instead({"message": {"items": []}}, 200, JSON),
    "a total of another kind": instead(
        {"message": {"items": [], "total-results": True}}, 200, JSON
    ),
    "not UTF-8": instead(b'{"message": "\xff\xfe"}', 200, JSON),
    "deep": instead(b"[" * 200_000, 200, JSON),
    "a number of 5,000 digits": instead(b'{"message": ' + b"9" * 5000 + b"}", 200, JSON),
    "not gzip": instead(b"{}", 200, JSON, content_encoding="gzip"),
    "half of gzip": instead(b"\x1f\x8b\x08\x00", 200, JSON, content_encoding="gzip"),
    "brotli": instead(b"{}", 200, JSON, content_encoding="br"),
    "too long": instead(b" " * (33 * 1024 * 1024), 200, JSON),
    "404 for a list": instead("nothing here", 404, HTML),
}


@pytest.mark.parametrize("fault", ONCE.values(), ids=ONCE)
def test_what_is_no_answer_is_asked_again(stocked: Registries, quick: Open, fault: Fault) -> None:
    stocked.crossref.faults.append(fault)
    answers = quick("crossref").ask(DOIS)
    assert titles(answers.found) == RIGHT
    assert answers.absent == set(DOIS[9:])
    assert len(stocked.crossref.paths) <= 3


@LISTS
@pytest.mark.parametrize("fault", [TOO_MANY_BARE, MAINTENANCE, cut, instead("no", 503, TEXT)])
def test_an_outage_is_never_an_absence(
    stocked: Registries, quick: Open, name: str, fault: Fault
) -> None:
    fake = getattr(stocked, name)
    fake.always = fault
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:"):
        quick(name).ask(DOIS[8:10])
    assert len(fake.paths) <= 4 + 2


def test_a_registry_that_is_gone_is_unavailable(server: Registries, opened: Open) -> None:
    registry = opened("datacite", datacite_url="http://127.0.0.1:1")
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1: ConnectError"):
        registry.ask(DOIS[:1])


def test_a_doi_that_no_list_survives_costs_itself_only(stocked: Registries, quick: Open) -> None:
    poison = DOIS[4]

    def fails(right: Any) -> Any:
        return instead("boom", 500, TEXT)(right) if poison in str(right.body) else right

    stocked.crossref.always = fails
    answers = quick("crossref").ask(DOIS)
    assert titles(answers.found) == {doi: title for doi, title in RIGHT.items() if doi != poison}
    assert answers.absent == set(DOIS[9:])


def test_what_was_answered_before_a_failure_is_kept(stocked: Registries, quick: Open) -> None:
    registry = quick("crossref")
    stocked.crossref.faults.append(None)
    stocked.crossref.always = instead("no", 503, TEXT)
    answers = registry.ask([*DOIS, "10.1001/jama.251.7.878,883"])
    assert titles(answers.found) == RIGHT
    assert answers.absent == set(DOIS[9:])


@LISTS
def test_a_refused_list_is_halved_down_to_the_doi(
    stocked: Registries, quick: Open, name: str
) -> None:
    fake = getattr(stocked, name)
    fake.bad_dois.add(DOIS[5])
    answers = quick(name).ask(DOIS[:10])
    assert titles(answers.found) == {doi: RIGHT[doi] for doi in DOIS[:9] if doi != DOIS[5]}
    assert answers.absent == {DOIS[5], DOIS[9]}
    assert len(fake.paths) <= 9
    assert max(count for doi, count in fake.asked.items() if doi != DOIS[5]) <= 5


@LISTS
@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("many", [1, 10])
def test_another_server_s_page_is_no_absence(
    server: Registries, quick: Open, name: str, status: int, many: int
) -> None:
    if (name, status, many) == ("openalex", 404, 1):
        return  # its own way to say so
    fake = getattr(server, name)
    fake.always = instead("<h1>Bad Request</h1> <h2>nginx</h2>", status, HTML)
    with pytest.raises(RegistryUnavailable):
        quick(name).ask(DOIS[:many])
    assert len(fake.paths) <= 12


@LISTS
def test_each_way_to_say_that_a_doi_is_unknown(server: Registries, quick: Open, name: str) -> None:
    assert quick(name).ask(DOIS[:1]).absent == {DOIS[0]}
    assert len(getattr(server, name).paths) == 1


@LISTS
@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_is_asked_no_more(
    server: Registries, quick: Open, name: str, status: int
) -> None:
    fake = getattr(server, name)
    fake.always = BLOCKED if status == 403 else instead({"error": "key"}, 401, JSON)
    with pytest.raises(RegistryRefused, match=rf"127\.0\.0\.1:\d+ refuses .*{status}"):
        quick(name).ask(DOIS)
    assert len(fake.paths) == 1


def test_a_pause_that_is_asked_for_is_made(stocked: Registries, quick: Open) -> None:
    stocked.crossref.faults.append(instead("", 429, TEXT, retry_after="1"))
    assert titles(quick("crossref").ask(DOIS).found) == RIGHT
    first, second = stocked.crossref.arrivals["list"]
    assert second - first >= 1


def test_a_long_pause_is_a_block(server: Registries, quick: Open) -> None:
    registry = quick("datacite")
    tomorrow = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))
    for said, seconds in (("600", 600), (tomorrow, 3600), ("9" * 30, 86400)):
        server.datacite.faults.append(instead("", 503, TEXT, retry_after=said))
        before = time.time()
        with pytest.raises(RegistryBlocked) as blocked:
            registry.ask(DOIS)
        assert before + seconds - 2 <= blocked.value.until <= time.time() + seconds
    assert len(server.datacite.paths) == 3


@pytest.mark.parametrize(
    "said", ["soon", "-5", "Mon, 01 Jan 1990 00:00:00 GMT", "\N{SUPERSCRIPT TWO}"]
)
def test_a_pause_that_can_t_be_read_is_none(stocked: Registries, quick: Open, said: str) -> None:
    headers = {"retry_after": said.encode().decode("latin-1")}
    stocked.crossref.faults.append(instead("", 429, TEXT, **headers))
    assert titles(quick("crossref").ask(DOIS).found) == RIGHT


def test_openalex_is_asked_for_lists_while_the_budget_lasts(
    stocked: Registries, opened: Open
) -> None:
    registry = opened("openalex", budget=Spending(0.0002))
    assert titles(registry.ask(DOIS[:6]).found) == {doi: RIGHT[doi] for doi in DOIS[:6]}
    assert registry.ask(DOIS[9:11]).absent == set(DOIS[9:11])
    with pytest.raises(RegistryBlocked) as blocked:
        registry.ask(DOIS[6:8])
    assert blocked.value.until % 86400 == 0
    assert 0 < blocked.value.until - time.time() <= 86400
    assert len(stocked.openalex.paths) == 2
    assert titles(registry.ask(DOIS[7:8]).found) == {DOIS[7]: RIGHT[DOIS[7]]}, "costs nothing"


def test_openalex_s_own_budget_blocks_until_it_is_filled(stocked: Registries, quick: Open) -> None:
    stocked.openalex.budget_usd = 0.0
    with pytest.raises(RegistryBlocked, match="Insufficient budget") as blocked:
        quick("openalex").ask(DOIS)
    assert (blocked.value.until + 10) % 86400 < 20, "midnight"
    assert len(stocked.openalex.paths) == 1


def test_openalex_s_limit_a_second_is_waited_for(stocked: Registries, quick: Open) -> None:
    stocked.openalex.faults.append(lambda _: budget_spent(1))
    assert titles(quick("openalex").ask(DOIS).found) == RIGHT


def test_openalex_costs_nothing_where_it_must_not(stocked: Registries, opened: Open) -> None:
    registry = opened("openalex", openalex_usd_a_day=0, budget=Spending(0))
    assert titles(registry.ask(DOIS[:3]).found) == {doi: RIGHT[doi] for doi in DOIS[:3]}
    assert len(stocked.openalex.paths) == 3


def test_a_slow_body_is_given_up(stocked: Registries, quick: Open) -> None:
    stocked.datacite.always = slow(0.04)
    with pytest.raises(RegistryUnavailable, match=r"too slow|Timeout"):
        quick("datacite", timeout_s=0.1).ask(DOIS[:2])


def test_a_registry_that_says_nothing_is_given_up(stocked: Registries, quick: Open) -> None:
    stocked.datacite.takes_s = 1.0
    with pytest.raises(RegistryUnavailable, match="Timeout"):
        quick("datacite", timeout_s=0.1).ask(DOIS[:1])
