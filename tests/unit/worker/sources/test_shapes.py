"""What a source is, is told by what it holds; its name decides only in doubt."""

import gzip
import json
import lzma
from pathlib import Path

import pytest

from schemas.document import Document
from schemas.job import Rejection
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.records import read
from worker.sources.report import Report

LIMITS = LimitSettings()
A, B = "10.1000/a", "10.1000/b"
ONE, TWO = Document(doi=A, title="One"), Document(doi=B, title="Two")
OBJECTS = [{"DOI": A, "title": ["One"]}, {"DOI": B, "title": "Two"}]
LINES = "\n".join(json.dumps(o) for o in OBJECTS)
WOS = f"FN Clarivate\nVR 1.0\nPT J\nTI One\nCR X, DOI 10.1/cited\nDI {A}\nER\n\n"
WOS += f"PT J\nTI Two\nDI {B}\nER\nEF"
RIS = f"Export\nTY  - JOUR\nTI  - One\nDO  - {A}\nER  - \nTY  - JOUR\nTI  - Two\nDO  - {B}\nER  - "
NBIB = f"PMID- 1\nTI  - One\nLID - {A} [doi]\n\nPMID- 2\nTI  - Two\nLID - {B} [doi]\n"
BIB = f"@article{{a, title={{One}}, doi={{{A}}}}}\n@article{{b, title={{Two}}, doi={{{B}}}}}"
SHAPES = {
    "lines of JSON": LINES,
    "an array": json.dumps(OBJECTS),
    "an array over lines": json.dumps(OBJECTS, indent=2),
    "Crossref's file": json.dumps({"items": OBJECTS}),
    "Crossref's answer": json.dumps({"status": "ok", "message": {"items": OBJECTS}}, indent=1),
    "OpenAlex's answer": json.dumps({"meta": {"count": 2}, "results": OBJECTS}),
    "DataCite's answer": json.dumps({"data": [{"id": "x", "attributes": o} for o in OBJECTS]}),
    "objects over lines": "\n".join(json.dumps(o, indent=2) for o in OBJECTS),
    "commas": f"DOI,Title\n{A},One\n{B},Two\n",
    "semicolons": f"DOI;Title\n{A};One\n{B};Two\n",
    "tabs": f"DOI\tTitle\n{A}\tOne\n{B}\tTwo\n",
    "bars": f'"DOI"|"Title"\n"{A}"|"One"\n"{B}"|"Two"\n',
    "sep=": f"sep=;\nDOI;Title\n{A};One\n{B};Two\n",
    "a preamble": f'Export, "of today\n\nSearch: x, y\nDOI,Title\n{A},One\n{B},Two\n',
    "Web of Science's tabs": f"\ufeffPT\tTI\tDI\tUT\nJ\tOne\t{A}\tx\t\nJ\tTwo\t{B}\ty\t\n",
    "tagged": WOS,
    "RIS": RIS,
    "PubMed": NBIB,
    "BibTeX": BIB,
}


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "part_0000", "a.tsv", "a.data"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_told_whatever_its_name(tmp_path: Path, shape: str, name: str) -> None:
    (tmp_path / name).write_text(SHAPES[shape])
    assert list(read(str(tmp_path / name), limits=LIMITS)) == [ONE, TWO]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_compression_is_told_whatever_the_name(tmp_path: Path, compress) -> None:
    for name in ("a.txt", "part_0000", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(compress(LINES.encode()))
        assert list(read(str(tmp_path / name), limits=LIMITS)) == [ONE, TWO]
    (tmp_path / "a.jsonl.gz").write_text(LINES)
    assert list(read(str(tmp_path / "a.jsonl.gz"), limits=LIMITS)) == [ONE, TWO]


@pytest.mark.parametrize(
    ("name", "shape"), [("ris", RIS), ("wos", WOS), ("jsonl", LINES), ("json", LINES)]
)
def test_a_format_may_be_said(tmp_path: Path, name: str, shape: str) -> None:
    (tmp_path / "a.csv").write_text(shape)
    found = read(str(tmp_path / "a.csv"), limits=LIMITS, options=SourceOptions(format=name))
    assert list(found) == [ONE, TWO]


PROSE = "\n".join(["It was shown before that this is so.", "And so it goes on."] * 3)
CITED = "\n".join([f"1. See doi:{A} and doi:{B}."] * 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROSE + f"\n{A}", "not one DOI a line: 6 of its first 7 lines hold none or several"),
        (CITED, "it seems to be lists of references, not of papers"),
        (f"<!DOCTYPE html>\n{PROSE}", "it seems to be a web page"),
        (f'<?xml version="1.0"?>\n{PROSE}', "it seems to be XML"),
        (f"Name;Identifier\n{PROSE}", "it seems to be a text or a table without a known header"),
    ],
)
def test_what_is_no_list_is_refused_with_what_it_seems_to_be(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(SourceError) as caught:
        list(read(str(tmp_path / "a.txt"), limits=LIMITS))
    assert message in str(caught.value)


def test_a_list_may_hold_some_lines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"# list\nmine:\n{A}\n{B}\nhttps://doi.org/{A}?doi={A}\nx\n")
    found = list(read(str(tmp_path / "a.txt"), limits=LIMITS))
    assert [r.line for r in found if isinstance(r, Rejection)] == [2, 6]


@pytest.mark.parametrize("line", ["@misc{x, title={y}}", "PMID- 123", "%0 Journal", "TY  - JOUR"])
@pytest.mark.parametrize("name", ["a.txt", "a.list"])
def test_a_list_stays_one_whatever_a_line_of_it_looks_like(
    tmp_path: Path, line: str, name: str
) -> None:
    (tmp_path / name).write_text(f"{A}\n{line}\n{B}\n")
    found = list(read(str(tmp_path / name), limits=LIMITS))
    assert [getattr(r, "doi", None) for r in found] == [A, None, B]


def test_columns_of_a_list_that_are_not_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{A}\n10.1038/nphys1170\tMeasured, by us\n{B}\t\n")
    report = Report()
    found = list(read(str(tmp_path / "a.txt"), limits=LIMITS, report=report))
    assert [getattr(r, "doi", None) for r in found] == [A, "10.1038/nphys1170", B]
    [note] = report.reading.notes
    assert "line 2 has several columns: of each line the DOI alone is used" in note


def test_a_header_is_looked_for_before_the_first_doi_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{A}\ndoi\n{B}\n")
    found = list(read(str(tmp_path / "a.txt"), limits=LIMITS))
    assert [getattr(r, "doi", None) for r in found] == [A, None, B]
    (tmp_path / "a.txt").write_text(f"doi\n{A}\n10.1001/jama.251.7.878\n")
    found = list(read(str(tmp_path / "a.txt"), limits=LIMITS))
    assert [getattr(r, "doi", None) for r in found] == [A, "10.1001/jama.251.7.878"]


def test_what_stands_above_a_header_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(SHAPES["a preamble"])
    report = Report()
    list(read(str(tmp_path / "a.csv"), limits=LIMITS, report=report))
    [note] = report.reading.notes
    assert note.endswith('above its header line: Export, "of today; Search: x, y')
