"""Exports as people have them: what comes out of each, pinned."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.document import Document
from schemas.job import NO_DOI, Rejection
from tests.support.paths import DATA
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.records import read
from worker.sources.report import Report

FILES, CASES = DATA / "files", DATA / "cases"
LIMITS = LimitSettings()
pytestmark = pytest.mark.skipif(not FILES.exists(), reason="needs ../shared/data")


class Told(NamedTuple):
    """What reading a file gave."""

    documents: list[Document]
    rejections: list[Rejection]
    error: str
    report: Report


def told(path: Path, options: SourceOptions | None = None) -> Told:
    report, found, error = Report(), [], ""
    try:
        for record in read(
            str(path), limits=LIMITS, options=options or SourceOptions(), report=report
        ):
            found.append(record)  # noqa: PERF402 - those before the error count
    except SourceError as raised:
        error = str(raised).removeprefix(f"{path}: ")
    rejections = [r for r in found if isinstance(r, Rejection)]
    return Told([r for r in found if isinstance(r, Document)], rejections, error, report)


# File: documents, rows without a DOI, invalid ones; how many have title, abstract, year, venue;
# the first DOI.
PINNED = {
    "colrev_eric.nbib": (1, 0, 0, (1, 1, 1, 1), "10.1000/123456789"),
    "crossref_odd.jsonl": (9, 0, 0, (8, 3, 7, 8), "10.7717/peerj.14688"),
    "crossref_public_data_2025.jsonl.gz": (3, 0, 0, (3, 0, 3, 3), "10.1007/978-3-031-74535-5"),
    "crossref_transform.bib": (6, 0, 0, (4, 0, 5, 5), "10.1007/s40278-023-41815-2"),
    "datacite_public_data.jsonl.gz": (10, 0, 0, (10, 10, 10, 0), "10.5281/zenodo.8402"),
    "ieee.ris": (24, 1, 0, (24, 24, 24, 24), "10.1109/mcse.2018.2884139"),
    "jabref_pubmed.nbib": (1, 0, 0, (1, 1, 1, 1), "10.4103/2277-9175.180636"),
    "openalex_works_part_0000.gz": (5, 0, 0, (5, 2, 5, 5), "10.1016/j.xgen.2025.100814"),
    "pubmed_export.csv": (2, 0, 0, (2, 0, 2, 2), "10.1111/nature1111"),
    "rispy_example_empty_tag.ris": (1, 0, 0, (1, 1, 1, 1), "10.1177/2325967120950040"),
    "scopus.csv": (3, 0, 0, (3, 3, 3, 3), "10.1002/jcc.20289"),
    "springer.csv": (3, 0, 0, (3, 0, 3, 3), "10.1007/978-3-030-92127-9_33"),
    "zotero.csv": (1, 2, 0, (1, 0, 1, 1), "10.1038/s41586-020-2649-2"),
    "zotero_pubmed.ris": (2, 0, 0, (2, 2, 2, 2), "10.5114/pg.2018.81081"),
}
FIELDS = ("title", "abstract", "year", "venue")


@pytest.mark.parametrize("name", PINNED)
def test_an_export_is_read_with_what_it_knows(name: str) -> None:
    found = told(FILES / name)
    without = sum(r.reason == NO_DOI for r in found.rejections)
    fields = tuple(sum(bool(getattr(d, f)) for d in found.documents) for f in FIELDS)
    counts = (len(found.documents), without, len(found.rejections) - without)
    assert (*counts, fields, found.documents[0].doi) == PINNED[name]
    assert found.error == ""
    assert found.report.reading.columns[0].used["doi"]
    assert found.report.reading.columns[0].unused


# No record of these has a DOI that is its own: what they say instead, and of how many records.
WITHOUT = {
    "asreview_faulty_year.ris": 1,
    "colrev_three.bib": 4,
    "jabref_BibtexImporter.examples.bib": 2,
    "rispy_example_extraneous_data.ris": 2,
    "rispy_example_multiline.ris": 3,
    "rispy_example_wos_tagged.txt": 1,
}


@pytest.mark.parametrize("name", WITHOUT)
def test_an_export_without_dois_says_so_and_what_it_holds(name: str) -> None:
    found = told(FILES / name)
    assert [r.reason for r in found.rejections] == [NO_DOI] * WITHOUT[name]
    assert re.match("none of its [0-9] records has a DOI: no column `doi` among `", found.error)
    assert "--column doi=NAME" in found.error


def test_columns_without_a_doi_in_any_row_are_told() -> None:
    found = told(FILES / "wos_tab_made_from_tagged.txt")
    assert found.error == "none of its 2 records can be read: no DOI"
    [use] = found.report.reading.columns
    assert use.used == {
        f: (n,) for f, n in zip(("doi", *FIELDS), ("DI", "TI", "AB", "PY", "SO"), strict=True)
    }
    assert "no column `doi` among `ID`, `Title`" in told(FILES / "colrev.xlsx").error


def test_every_file_is_pinned_here() -> None:
    others = {"README.md", "wos_tab_made_from_tagged.txt", "colrev.xlsx"}
    assert {path.name for path in FILES.iterdir()} == {*PINNED, *WITHOUT, *others}


def test_odd_fields_are_dropped_and_told() -> None:
    drops = told(FILES / "crossref_odd.jsonl").report.reading
    assert drops.fields_dropped == len(drops.first_dropped) == 2
    assert {(d.line, d.field, d.reason) for d in drops.first_dropped} == {
        (3, "title", "one of several; the first is used"),
        (6, "venue", "one of several; the first is used"),
    }
    drops = told(CASES / "15-years.csv").report.reading
    assert [(d.line, d.field, d.value) for d in drops.first_dropped] == [
        (2, "year", "in press"),
        (3, "year", "c2020"),
        (4, "year", "0"),
    ]


NUMPY, NPHYS = "10.1038/s41586-020-2649-2", "10.1038/nphys1170"
MEASURED = Document(
    doi=NPHYS, title="Quantum", abstract="We measure.", year=2008, venue="Nature Physics"
)
CASES_READ = {
    "01-cr-only.csv": [
        Document(doi=NUMPY, title="Array programming", year=2020),
        Document(doi=NPHYS, title="Other", year=2008),
    ],
    "04-wos-tagged.txt": [Document(doi=NUMPY, title="A title", year=2020)],
    "09-zotero.csv": [MEASURED],
    "10-wos-excel.csv": [MEASURED.model_copy(update={"venue": "NATURE PHYSICS"})],
    "13-crossref-two-titles.jsonl": [Document(doi=NPHYS, title="Titre", year=2008, venue="Revue")],
    "15-years.csv": [
        Document(doi=NPHYS, title="A"),
        Document(doi="10.1038/nature11543", title="B"),
        Document(doi="10.1126/science.1240454", title="C"),
    ],
    "16-semicolon.csv": [Document(doi=NUMPY, title="Array programming", year=2020)],
    "26-array.json": [
        Document(doi=NPHYS, title="x"),
        Document(doi="10.1038/nature11543", title="y"),
    ],
}


@pytest.mark.parametrize("name", CASES_READ)
def test_a_case_is_read(name: str) -> None:
    found = told(CASES / name)
    assert (found.documents, found.rejections, found.error) == (CASES_READ[name], [], "")


def test_a_case_of_another_encoding_is_read_as_it_says() -> None:
    path = CASES / "18-cp1252.csv"
    assert told(path).error == "not UTF-8; it looks like cp1252: --encoding cp1252 reads it"
    found = told(path, SourceOptions(encoding="cp1252"))
    assert found.documents == [Document(doi=NUMPY, title="Über Bücher", year=2020)]


def test_a_case_without_a_header_line_is_given_a_hint() -> None:
    path = CASES / "19-headerless.csv"
    assert told(path).error.startswith("no header line: its first line holds a DOI")
    assert len(told(path, SourceOptions(format="txt")).documents) == 2
