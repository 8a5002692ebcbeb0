"""Records of registries as answers: on all that was recorded, and on what nobody should send."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import DATA
from worker.metadata import shapes
from worker.metadata.answers import Answer

APIS = DATA / "apis"
needs_recordings = pytest.mark.skipif(not APIS.exists(), reason="needs the shared data")
ODD = st.sampled_from(
    [None, True, -1, 10**30, 1e300, float("nan"), "", "\0", "\ud800", "2020-01-01"]
)
JSON = ODD | st.lists(ODD, max_size=3) | st.dictionaries(st.sampled_from(["title", "source"]), ODD)
JSON = JSON | st.lists(JSON, max_size=2)
SHAPES = (shapes.crossref, shapes.openalex, shapes.datacite, shapes.agency)
FIELDS = (
    *("DOI", "doi", "title", "titles", "subtitle", "issued", "indexed", "attributes", "container"),
    *("primary_location", "abstract_inverted_index", "publicationYear", "updated_date"),
)


def recorded(path: str) -> Any:
    found = json.loads((APIS / path).read_text())
    return found.get("message") or found.get("body") or found


def work(name: str) -> Answer:
    found = shapes.crossref(recorded(f"crossref/work_{name}.json"))
    assert found
    return found


@needs_recordings
@pytest.mark.parametrize(
    ("name", "title", "year", "venue"),
    [
        ("component_no_title", None, None, None),
        ("journal_issue_no_title", None, 2018, "Journal of Physical Education and Sport"),
        ("issued_null", "Widget Mania: Using a GUI Widget Framework", None, "Practical JavaScript"),
        ("two_titles", "Desain Widget Antarmuka Sistem Informasi Olahraga", 2025, "Prosiding"),
        ("subtitle", "Widget, widget as you lead, I am performing well indeed! using", 2017, "Pr"),
        ("subtitle_empty_string", "Icônes", 2024, "Multitudes"),
        ("standard", "Dentistry \ufffd Endodontic instruments: Part 2: Enlargers", None, None),
        ("original_title", "五、乾餾及瓦斯化", 1927, "Journal of the Fuel Society of Japan"),
        ("title_newline_italics_abstract_sections", "Feeding habits of four-finger threadfin "
         "fish, Eleutheronema tetradactylum, and its diet", 2023, "PeerJ"),
        ("title_mathml", "Persistence of collective behavior at high spin in the N=88 nucleus "
         "Tb153", 2015, "Physical Review C"),
        ("title_double_escaped_peer_review", 'Review for "Simultaneous maximization of GenCo', 2020,
         None),
        ("two_container_titles_entity", "The influence of capillarity on the location", None,
         "Progress in Colloid & Polymer Science"),
        ("container_title_empty_list", 'Peer Review #2 of "Human agency', 2017, None),
    ],
)  # fmt: skip
def test_works_of_crossref(
    name: str, title: str | None, year: int | None, venue: str | None
) -> None:
    document = work(name).document
    assert document.source == "crossref"
    assert (document.title or "").startswith(title or "")
    assert (document.title is None) == (title is None)
    assert document.year == year
    assert (document.venue or "").startswith(venue or "")
    assert (document.venue is None) == (venue is None)


@needs_recordings
def test_when_a_record_was_changed_is_told() -> None:
    assert work("plain").dated == 1780775737
    openalex = shapes.openalex(recorded("openalex/http_200_work_3.json"))
    assert openalex
    assert openalex.dated == 1754428728
    datacite = shapes.datacite(recorded("datacite/http_200_Dataset.json")["data"])
    assert datacite
    assert datacite.dated == 1602736938


@needs_recordings
def test_lists_of_openalex() -> None:
    found = [shapes.openalex(r) for r in recorded("openalex/list_filter_doi_batch.json")["results"]]
    assert [bool(one and one.document.abstract) for one in found] == [False] * 3 + [True] * 2
    assert found[3]
    assert found[3].document.abstract
    assert found[3].document.abstract.startswith("Pharmacokinetic properties of oligonucleotides")
    assert found[3].document.venue == "Advanced Drug Delivery Reviews"


def recordings(folder: str) -> Iterator[Any]:
    for path in sorted((APIS / folder).glob("*.json")):
        body = recorded(f"{folder}/{path.name}")
        body = body.get("message", body) if isinstance(body, dict) else {}
        if not isinstance(body, dict):  # a refusal
            continue
        data = body.get("items") or body.get("results") or body.get("data") or [body]
        yield from data if isinstance(data, list) else [data]


@needs_recordings
@pytest.mark.parametrize("folder", ["crossref", "openalex", "datacite"])
def test_every_recorded_answer_is_read(folder: str) -> None:
    read = getattr(shapes, folder)
    found = [read(record) for record in recordings(folder)]
    answers = [one for one in found if one]
    assert len(answers) >= 6
    assert all(one.document.source == folder for one in answers)
    texts = [
        f"{one.document.title} {one.document.abstract} {one.document.venue}" for one in answers
    ]
    assert not [text for text in texts if any(sign in text for sign in ("</", "&lt;", "&amp;"))]


@needs_recordings
def test_csl_of_an_agency() -> None:
    found = shapes.agency(recorded("doi_org/http_200_citeproc_json.json"))
    assert found
    assert found.document.source == "agency"
    assert (found.document.year, found.document.venue) == (1970, "Science")


def test_what_says_nothing_is_no_title() -> None:
    titles = ["(:unav)", ":tba", "", "N/A", None]
    found = [shapes.datacite({"id": "10.5061/x", "titles": [{"title": t}]}) for t in titles]
    assert [one and one.document.title for one in found] == [None] * 5
    crossref = shapes.crossref({"DOI": "10.1000/X", "title": ["", " \n", "A  title"]})
    assert crossref == Answer(crossref.document, 0)
    assert (crossref.document.doi, crossref.document.title) == ("10.1000/x", "A title")


def test_a_subtitle_that_a_title_has_is_not_said_twice() -> None:
    record = {"DOI": "10.1000/x", "title": ["Graphs: A <i>survey</i>"], "subtitle": ["a survey"]}
    found = shapes.crossref(record)
    assert found
    assert found.document.title == "Graphs: A survey"


@pytest.mark.parametrize(
    "doi",
    [None, "", 7, "10.1000", "no", "10.1000/a 10.1000/b", "10.1101/123456v2", "10.1000/ä"],
)
def test_no_doi_is_no_answer(doi: object) -> None:
    assert shapes.crossref({"DOI": doi, "title": ["A title"]}) is None


def test_a_field_that_is_too_long_costs_the_fields_alone() -> None:
    found = shapes.crossref({"DOI": "10.1000/x", "title": ["x" * 2_000_000]})
    assert found
    assert found.document.is_bare


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_nothing_is_too_strange(record: dict[str, Any]) -> None:
    for shape in SHAPES:
        found = shape(record | {"DOI": "10.1000/x", "doi": "10.1000/x"})
        assert found is None or (found.document.doi == "10.1000/x" and found.dated >= 0)
