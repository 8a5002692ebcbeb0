"""A poor field is dropped and told; it never costs the record."""

from datetime import datetime
from typing import Any

import pytest

from schemas.document import Document
from schemas.job import NO_DOI
from worker.settings.ingest import LimitSettings
from worker.sources.fields import Found, given

LIMITS = LimitSettings()
NUMPY = "10.1038/s41586-020-2649-2"


def found(**fields: Any) -> Found:
    return given({"doi": NUMPY} | fields, limits=LIMITS)


def why_not(raw: Any, limits: LimitSettings = LIMITS) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - any of them
        given(raw, limits=limits)
    return str(caught.value)


@pytest.mark.parametrize(
    ("year", "expected"),
    [
        (1999, 1999),
        (1999.0, 1999),
        ("1999", 1999),
        (" 1999.0 ", 1999),
        ("1999-05-01", 1999),
        ("1999/05", 1999),
        ("1999 May", 1999),
        (datetime(1999, 5, 1), 1999),
        ({"date-parts": [[1999, 5]]}, 1999),
        ({"date-parts": [["1999"]]}, 1999),
        ({"raw": "1999-05"}, 1999),
        ({"date-parts": [[None]]}, None),
        ({"date-parts": []}, None),
        ([], None),
        (" ", None),
        (None, None),
    ],
)
def test_a_year_is_read_in_its_usual_forms(year: object, expected: int | None) -> None:
    assert found(year=year) == Found(Document(doi=NUMPY, year=expected), ())


BAD_YEARS = [999, 3001, 9999, -1999, 1999.5, float("nan"), float("inf"), 10**5000, True, {"a": 1}]
BAD_YEARS += ["19990501", "05/1999", "1999x", "in press", "１９９９", "c2020", "n.d.", "NaN", "0"]


@pytest.mark.parametrize("year", BAD_YEARS, ids=lambda year: type(year).__name__)
def test_a_year_that_is_none_is_dropped_and_told(year: object) -> None:
    document, dropped = found(year=year, title="Array programming with NumPy")
    assert document == Document(doi=NUMPY, title="Array programming with NumPy")
    assert [(d.field, d.reason) for d in dropped] == [("year", "not a year from 1000 to 2999")]
    assert dropped[0].value is year


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": {"en": "a"}}, "not a text"),
        ({"venue": 3}, "not a text"),
        ({"abstract": True}, "not a text"),
        ({"title": "a\0b"}, "holds a NUL or half a surrogate pair"),
        ({"title": "\ud800"}, "holds a NUL or half a surrogate pair"),
        ({"title": "N/A"}, "says nothing"),
        ({"title": "<i></i>"}, "says nothing"),
        ({"abstract": "No abstract available."}, "says nothing"),
    ],
)
def test_a_field_of_the_wrong_kind_is_dropped_and_told(fields: dict, reason: str) -> None:
    document, dropped = found(**fields, year=2020)
    assert document == Document(doi=NUMPY, year=2020)
    assert [(d.field, d.value, d.reason) for d in dropped] == [
        (*next(iter(fields.items())), reason)
    ]


def test_of_several_texts_the_first_counts_and_the_others_are_told() -> None:
    document, dropped = found(title=["Titre", "Title"], venue=["", None, "Revue"], abstract=[])
    assert document == Document(doi=NUMPY, title="Titre", venue="Revue")
    assert [(d.field, d.value) for d in dropped] == [("title", "Title")]


def test_texts_are_cleaned() -> None:
    document, dropped = found(title="<i>In vivo</i>\n imaging, p < 0.05", abstract="Abstract: We")
    assert (document.title, document.abstract) == ("In vivo imaging, p < 0.05", "We")
    assert dropped == ()


def test_what_is_no_record_says_why() -> None:
    assert why_not({"doi": None}) == NO_DOI
    for nothing in (" ", "N/A", "-", "nan", []):
        assert why_not({"doi": nothing, "title": "A"}) == NO_DOI
    assert why_not({"title": "A"}) == NO_DOI
    assert why_not({"doi": 10.1038}) == "the doi is not a text"
    assert why_not(3) == "neither a DOI nor an object with a `doi`"
    assert why_not({"doi": NUMPY, "abstract": "é" * 600_000}).startswith("longer than the limit")
    assert why_not({"doi": [NUMPY, "10.1038/nphys1170"]}) == "two different DOIs"


def test_a_plain_doi_is_a_record() -> None:
    assert given(f"doi:{NUMPY.upper()}", limits=LIMITS) == Found(Document(doi=NUMPY), ())
    for bad in ("", "numpy", "10.1038/\ud800", "10.1038/a\0b", f"10.1/{'x' * 2048}"):
        assert "codec" not in why_not(bad)


def test_other_programs_may_give_the_shapes_of_registries() -> None:
    crossref = {"DOI": NUMPY.upper(), "title": ["A"], "container-title": ["Nature"]}
    expected = Document(doi=NUMPY, title="A", venue="Nature", year=2020)
    issued = {"issued": {"date-parts": [[2020, 9, 16]]}}
    assert given({"status": "ok", "message": crossref | issued}, limits=LIMITS).document == expected


def test_a_cell_may_hold_an_object_or_a_list() -> None:
    """As pandas and OpenAlex's clients write them to tables."""
    for abstract in ('{"We": [0], "measure": [1]}', "{'We': [0], 'measure': [1]}"):
        assert found(abstract=abstract).document.abstract == "We measure"
    assert found(title='["A title"]').document.title == "A title"
    assert found(title="['A title', 'Another']").document.title == "A title"
    venue = "{'source': {'display_name': 'Nature', 'is_oa': False, 'issn': None}}"
    assert found(venue=venue).document.venue == "Nature"
    assert found(abstract='{"a": "b"}').dropped[0].reason == "not a text"
    for title in ("[Title of an article in Dutch]", "{E}vidence", "['He said'] and left", "{'"):
        assert found(title=title).document.title == title


def test_a_word_for_nothing_does_not_hide_another_columns_value() -> None:
    assert found(title="N/A", display_name="A title").document.title == "A title"
    assert given({"DOI": "N/A", "doi link": NUMPY}, limits=LIMITS).document.doi == NUMPY
    assert [d.reason for d in found(title="N/A", display_name="").dropped] == ["says nothing"]
