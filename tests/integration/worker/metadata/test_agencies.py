"""DOIs of other agencies, by way of doi.org."""

from typing import Any

import pytest

from tests.integration.worker.metadata.conftest import Open
from tests.support import registry_records as shapes
from tests.support.registries import (
    CSL,
    HTML,
    JSON,
    MAILTO,
    MAINTENANCE,
    TEXT,
    Registries,
    changed,
    cut,
    instead,
)
from worker.errors import RegistryRefused, RegistryUnavailable

MEDRA = {"doi": "10.3280/sl2016-144002", "title": "Lavoro", "year": 2016, "venue": "Sociologia"}
JALC = {"doi": "10.1241/johokanri.39.979", "title": "Information", "year": 1997}
DOIS = [str(MEDRA["doi"]), str(JALC["doi"])]


@pytest.fixture
def led(server: Registries) -> Registries:
    """doi.org, and an agency's server that it leads to."""
    server.agencies = {
        "10.3280": "mEDRA",
        "10.1241": "JaLC",
        "10.1371": "Crossref",
        "10.5281": "DataCite",
    }
    server.agency.know([MEDRA, JALC], shapes.csl_item)
    return server


def test_a_doi_leads_to_its_agency_s_record(led: Registries, quick: Open) -> None:
    answers = quick("agency").ask([*DOIS, "10.3280/unknown"])
    assert answers.absent == {"10.3280/unknown"}
    document = answers.found[DOIS[0]].document
    assert document.metadata == {"title": "Lavoro", "year": 2016, "venue": "Sociologia"}
    assert document.source == "agency"
    assert {headers["accept"] for headers in led.agency.headers} == {CSL}


def test_a_prefix_is_asked_for_once_and_kept(led: Registries, quick: Open) -> None:
    kept: dict[str, str] = {}
    registry = quick("agency", kept=kept)
    registry.ask([*DOIS, "10.3280/b", "10.9999/x", "10.9999/y"])
    registry.ask(["10.3280/c"])
    quick("agency", kept=kept).ask(["10.3280/d"])
    assert kept == {"10.3280": "mEDRA", "10.1241": "JaLC"}
    assert [p for p in led.doi.paths if "/ra/" in p] == [
        *("/doi/ra/10.3280", "/doi/ra/10.1241", "/doi/ra/10.9999")
    ]


def test_crossref_s_and_datacite_s_are_not_asked_for_there(led: Registries, quick: Open) -> None:
    dois = ["10.1371/journal.pone.1", "10.5281/zenodo.1", "10.9999/unknown"]
    assert quick("agency").ask(dois).absent == set(dois)
    assert all("/ra/" in path for path in led.doi.paths)


def test_who_asks_is_told_to_doi_org_alone(led: Registries, quick: Open) -> None:
    elsewhere = Registries()
    try:
        elsewhere.agency.records = led.agency.records
        led.leads_to = elsewhere.agency.url
        assert set(quick("agency").ask(DOIS).found) == set(DOIS)
        assert all(MAILTO in headers["user-agent"] for headers in led.doi.headers)
        assert all(MAILTO not in str(headers) for headers in elsewhere.agency.headers)
        assert all("doivec/" in headers["user-agent"] for headers in elsewhere.agency.headers)
    finally:
        elsewhere.close()


PAGES: dict[str, Any] = {
    "a page": MAINTENANCE,
    "403": instead("robots", 403, HTML),
    "404": instead("", 404, HTML),
    "406": instead("", 406, TEXT),
    "another's": changed(lambda record: {**record, "DOI": "10.3280/other"}),
    "a list": changed(lambda record: [record]),
}


@pytest.mark.parametrize("fault", PAGES.values(), ids=PAGES)
def test_what_has_no_record_to_give_is_absent(led: Registries, quick: Open, fault: Any) -> None:
    led.agency.faults.append(fault)
    answers = quick("agency").ask(DOIS)
    assert answers.absent == {DOIS[0]}
    assert set(answers.found) == {DOIS[1]}


GONE: dict[str, Any] = {
    "503": instead("", 503, TEXT),
    "429": instead("", 429, TEXT, retry_after="3000"),
    "cut": cut,
    "half": instead(b'{"DOI": "10.3280/sl2016-144002", "title":', 200, JSON),
    "in circles": instead("", 302, TEXT, location="/agency/x"),
    "nowhere": instead("", 302, TEXT, location="http://127.0.0.1:1/"),
    "a file": instead("", 302, TEXT, location="file:///etc/passwd"),
    "nothing": instead("", 302, TEXT, location="http://[::1"),
}


@pytest.mark.parametrize("fault", GONE.values(), ids=GONE)
def test_a_server_that_fails_costs_its_own_doi_only(
    led: Registries, quick: Open, fault: Any
) -> None:
    if "in circles" in GONE and fault is GONE["in circles"]:
        led.agency.faults.extend([fault] * 6)
    else:
        led.agency.faults.append(fault)
    answers = quick("agency").ask(DOIS)
    assert not answers.absent
    assert set(answers.found) == {DOIS[1]}


LOCATIONS = ["file:///etc/passwd", "http://[::1", "http://127.0.0.1:1/", "\xe9://\xff", "mailto:x"]


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_doi_that_leads_nowhere_costs_itself_only(
    led: Registries, quick: Open, location: str
) -> None:
    led.agencies["10.3280"] = "mEDRA"
    led.doi.faults.extend([None, instead("", 302, TEXT, location=location)])
    answers = quick("agency").ask(DOIS)
    assert set(answers.found) == {DOIS[1]}
    assert answers.absent <= {DOIS[0]}


def test_a_record_names_its_doi_in_one_of_three_ways(led: Registries, quick: Open) -> None:
    for name in ("id", "URL"):
        record = dict(led.agency.records[DOIS[0]])
        record.pop("DOI", None)
        led.agency.faults.append(
            instead({"id": "Rossi2016", **record, name: f"https://doi.org/{DOIS[0]}"}, 200, CSL)
        )
        assert set(quick("agency").ask(DOIS[:1]).found) == set(DOIS[:1])


def test_doi_org_itself_may_be_away_or_refuse(led: Registries, quick: Open) -> None:
    registry = quick("agency")
    led.doi.always = instead("", 503, TEXT)
    with pytest.raises(RegistryUnavailable):
        registry.ask(DOIS)
    led.doi.always = instead("", 403, TEXT)
    with pytest.raises(RegistryRefused):
        registry.ask(DOIS)


def test_another_server_is_not_taken_for_doi_org(led: Registries, quick: Open) -> None:
    led.doi.always = instead("<h1>Not Found</h1>", 404, HTML)
    with pytest.raises(RegistryUnavailable, match="DOI_URL"):
        quick("agency").ask(DOIS)
