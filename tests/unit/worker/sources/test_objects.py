"""Registries' objects, nested and wrapped, as plain values."""

import json

import pytest

from schemas.document import Document
from tests.support.paths import DATA
from worker.metadata import shapes
from worker.metadata.answers import Answer
from worker.settings.ingest import LimitSettings
from worker.sources.fields import given

LIMITS = LimitSettings()
DOI = "10.5281/zenodo.8402"


def document(raw: dict) -> Document:
    return given(raw, limits=LIMITS).document


def test_datacites_objects_are_read_in_their_envelope_and_without() -> None:
    attributes = {
        "doi": DOI,
        "titles": [{"title": "Sous-titre", "titleType": "Subtitle"}, {"title": "Soil quality"}],
        "descriptions": [
            {"descriptionType": "Methods", "description": "No."},
            {"descriptionType": "Abstract", "description": "We assess."},
        ],
        "publicationYear": 2012,
        "container": {"type": "Journal", "title": "Soils"},
        "publisher": "Zenodo",
    }
    expected = Document(
        doi=DOI, title="Soil quality", abstract="We assess.", year=2012, venue="Soils"
    )
    assert document(attributes) == expected
    wrapped = {"id": DOI, "type": "dois", "attributes": attributes}
    assert document(wrapped) == document({"data": wrapped}) == expected
    bare = {"doi": DOI, "titles": [], "descriptions": [], "container": {}}
    assert document(bare) == Document(doi=DOI)


def test_openalexs_inverted_abstracts_are_put_together() -> None:
    work = {
        "id": "https://openalex.org/W1",
        "doi": f"https://doi.org/{DOI}",
        "title": None,
        "display_name": "Soil quality",
        "publication_year": 2012,
        "abstract_inverted_index": {"soil": [1, 3], "We": [0], "and": [2]},
        "primary_location": {"source": {"display_name": "Soils", "id": "x"}},
    }
    expected = Document(
        doi=DOI, title="Soil quality", abstract="We soil and soil", year=2012, venue="Soils"
    )
    assert document(work) == expected
    assert document(work | {"primary_location": {"source": None}}).venue is None
    assert (
        document(work | {"primary_location": None, "abstract_inverted_index": None}).abstract
        is None
    )


def test_an_inverted_index_that_is_none_costs_the_abstract_alone() -> None:
    found = given({"doi": DOI, "abstract_inverted_index": {"a": ["x"]}}, limits=LIMITS)
    assert (found.document, [d.field for d in found.dropped]) == (Document(doi=DOI), ["abstract"])
    far = {"doi": DOI, "abstract_inverted_index": {"far": [10**18], "near": [-5]}}
    assert document(far).abstract == "near far"


ANSWERS = sorted((DATA / "apis").glob("*/*.json"))


@pytest.mark.skipif(not ANSWERS, reason="needs ../shared/data")
def test_each_recorded_work_is_read() -> None:
    works = [path for path in ANSWERS if "work_" in path.name]
    bodies = [json.loads(path.read_text()) for path in works]
    found = [document(body.get("body", body)) for body in bodies]
    assert len(found) > 20
    assert sum(bool(record.title) for record in found) >= len(found) - 4
    assert all(record.doi.startswith("10.") for record in found)


def test_a_value_that_is_nested_without_end_costs_the_field_alone() -> None:
    deep: object = "On soil"
    for _ in range(900):
        deep = [deep]
    found = given({"doi": DOI, "title": deep, "year": 2012}, limits=LIMITS)
    assert (found.document, [d.field for d in found.dropped]) == (
        Document(doi=DOI, year=2012),
        ["title"],
    )
    assert shapes.openalex({"doi": DOI, "title": deep, "publication_year": 2012}) == Answer(
        Document(doi=DOI, year=2012, source="openalex")
    )
    attributes = {"doi": DOI, "titles": [{"title": deep}], "publicationYear": 2012}
    assert shapes.datacite({"attributes": attributes}) == Answer(
        Document(doi=DOI, year=2012, source="datacite")
    )
