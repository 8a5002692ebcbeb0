"""Columns are found by the names of people's exports, or by those that a person says."""

from pathlib import Path

import pytest

from schemas.document import Document
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.columns import DOCUMENT, Columns, folded
from worker.sources.options import SourceOptions
from worker.sources.records import read
from worker.sources.report import Report

LIMITS = LimitSettings()
A = "10.1000/a"
# The headings of exports (only those that matter), and which of them is which of our fields.
EXPORTS = {
    "Zotero": ("Title", "Abstract Note", "Publication Year", "Publication Title", "DOI"),
    "Web of Science": ("TI", "AB", "PY", "SO", "DI"),
    "Web of Science, Excel": (
        "Article Title",
        "Abstract",
        "Publication Year",
        "Source Title",
        "DOI",
    ),
    "Scopus": ("Title", "Abstract", "Year", "Source title", "DOI"),
    "PubMed": ("Title", "Abstract", "Publication Year", "Journal/Book", "DOI"),
    "IEEE": ("Document Title", "Abstract", "Publication Year", "Publication Title", "DOI"),
    "Springer": ("Item Title", "Abstract", "Publication Year", "Publication Title", "Item DOI"),
    "Dimensions": ("Title", "Abstract", "PubYear", "Source title", "DOI"),
    "Lens": ("Title", "Abstract", "Publication Year", "Source Title", "DOI"),
    "OpenAlex": (
        "title",
        "abstract",
        "publication_year",
        "primary_location.source.display_name",
        "doi",
    ),
    "Crossref": ("title", "abstract", "issued", "container-title", "DOI"),
    "DataCite": ("titles", "descriptions", "publicationYear", "container", "doi"),
}


def records(path: Path, content: str, report: Report | None = None, **columns: str) -> list:
    path.write_text(content)
    options = SourceOptions(columns=columns)
    return list(read(str(path), limits=LIMITS, options=options, report=report))


@pytest.mark.parametrize("export", EXPORTS)
def test_the_names_of_exports_are_known(tmp_path: Path, export: str) -> None:
    header = ["Authors", "Cited DOI", "Source", *EXPORTS[export], "Book DOI", "Date Added"]
    row = ["X", "10.1000/cited", "Scopus", "A title", "We show.", "2020", "Nature", A]
    row += ["10.1000/book", "2021"]
    report = Report()
    found = records(tmp_path / "a.csv", f"{','.join(header)}\n{','.join(row)}\n", report)
    assert found == [
        Document(doi=A, title="A title", abstract="We show.", year=2020, venue="Nature")
    ]
    [use] = report.reading.columns
    assert use.unused == ("Authors", "Cited DOI", "Source", "Book DOI", "Date Added")
    assert sorted(use.used) == sorted(DOCUMENT.names)


def test_of_several_columns_the_first_that_has_a_value_counts(tmp_path: Path) -> None:
    report = Report()
    content = f"Date,DOI,Publication Year,Conference Name,Publication Title\n2019-05,{A},2020,C,\n"
    content += f"2018-01-02,{A},,C,P\n"
    found = records(tmp_path / "a.csv", content, report)
    assert [(r.year, r.venue) for r in found] == [(2020, "C"), (2018, "P")]
    [use] = report.reading.columns
    assert use.used["year"] == ("Publication Year", "Date")
    assert use.used["venue"] == ("Publication Title", "Conference Name")


def test_a_person_may_name_columns(tmp_path: Path) -> None:
    content = f"Identifier;DOI;Title;Heading\n{A};10.1000/other;Wrong;Right\n"
    found = records(tmp_path / "a.csv", content, doi="identifier", title="HEADING")
    assert found == [Document(doi=A, title="Right")]
    content = f'{{"Identifier": "{A}", "doi": "10.1000/other", "title": "x", "Heading": "Right"}}'
    found = records(tmp_path / "a.jsonl", content, doi="Identifier", title="Heading")
    assert found == [Document(doi=A, title="Right")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Digital Object Identifier,TI\nx,y\n"),
        ("a.jsonl", '{"Digital Object Identifier": "x", "TI": "y"}'),
    ],
)
def test_without_a_known_name_the_columns_are_listed(
    tmp_path: Path, name: str, content: str
) -> None:
    with pytest.raises(SourceError) as caught:
        records(tmp_path / name, content)
    assert str(caught.value) == (
        f"{tmp_path / name}: no column `doi` among `Digital Object Identifier`, `TI`; "
        "--column doi=NAME says which it is"
    )
    with pytest.raises(SourceError, match="no column `Identifier` among `Digital Object"):
        records(tmp_path / name, content, doi="Identifier")
    with pytest.raises(SourceError, match=r"no field `titel`; there are doi, title, abstract"):
        records(tmp_path / name, content, titel="TI")


def test_a_chosen_column_must_be_there(tmp_path: Path) -> None:
    for name, content in (("a.csv", f"doi\n{A}\n"), ("a.jsonl", f'{{"doi": "{A}"}}\n')):
        with pytest.raises(SourceError, match="no column `TI` among `doi`"):
            records(tmp_path / name, content, title="TI")


def test_what_is_told_of_columns_is_bounded(tmp_path: Path) -> None:
    header = ",".join(f"{n}{'x' * 100}" for n in range(2000))
    report = Report()
    records(tmp_path / "a.csv", f"doi,{header}\n{A}\n", report)
    assert len(report.reading.model_dump_json()) < 20_000
    with pytest.raises(SourceError) as caught:
        records(tmp_path / "a.csv", f"{header}\n{A}\n")
    assert len(str(caught.value)) < 5_000


def test_names_are_compared_without_case_and_signs() -> None:
    names = ["container-title", " Container  Title ", "container.title", "CONTAINER_TITLE"]
    assert {folded(name) for name in names} == {"container title"}


def test_a_column_counts_as_used_by_the_name_that_a_file_has() -> None:
    columns = Columns(DOCUMENT, {})
    assert columns.pick({"DOI": 1, "x": 2}) == {"doi": ["DOI"]}
    assert columns.use == ({"doi": ("DOI",)}, ("x",))
