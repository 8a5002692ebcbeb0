"""Tagged exports: each record by itself, and of the DOIs that it names the paper's own alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import DATA
from worker.sources.streams import Line, lines, opened
from worker.sources.tagged import DIALECTS, ENDNOTE, NBIB, RIS, WEB_OF_SCIENCE, Dialect, looks_like

LIMIT = 10_000
NUMPY, SCIPY = "10.1038/s41586-020-2649-2", "10.1038/s41592-019-0686-2"
OURS = {"doi", "title", "abstract", "year", "venue"}


def numbered(text: str) -> Iterator[Line]:
    return enumerate((line.encode() for line in text.split("\n")), start=1)


def read(dialect: Dialect, text: str) -> list[dict[str, Any]]:
    return [dialect.parse(raw.decode()) for _, raw in dialect.records(numbered(text), limit=LIMIT)]


def ours(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name in OURS}


def test_a_record_need_not_end(tmp_path: Path) -> None:
    text = f"TY  - JOUR\nDO  - {NUMPY}\nTY  - JOUR\nDO  - {SCIPY}\nER  -\n\nTY  - BOOK\nTI  - c"
    found = list(RIS.records(numbered(text), limit=LIMIT))
    assert [number for number, _ in found] == [1, 3, 7]
    assert [record.get("doi") for record in read(RIS, text)] == [NUMPY, SCIPY, None]


def test_what_stands_round_records_is_none() -> None:
    text = (
        "Record #1 of 2\nProvider: Provider\n1.\n\ufeffTY  - JOUR\nDO  - 10.1/a\nUR  - https://x\n"
        "Record #2 of 2\nProvider: Provider\n\n\rTY  - JOUR\nT1  - b\nER  -\nThe end: 10.1/c\n"
    )
    found = read(RIS, text)
    assert [record["TY"] for record in found] == ["JOUR", "JOUR"]
    assert [ours(record) for record in found] == [{"doi": "10.1/a"}, {"title": "b"}]


def test_a_doi_outside_of_records_is_told() -> None:
    text = f"10.1000/a\nTY  - JOUR\nDO  - {NUMPY}\nER  - \n TY  - JOUR\n DO  - {SCIPY}\n ER  - \n"
    found = list(RIS.records(numbered(text), limit=LIMIT))
    assert [number for number, _ in found] == [1, 2, 6]
    with pytest.raises(ValueError, match="outside of any record"):
        RIS.parse(found[2][1].decode())


def test_values_run_over_lines() -> None:
    text = "TY  - JOUR\nN2  - one,\nER then two\n\n      three\nDO  -\nKW  - a\nKW  - b\nER  - "
    assert read(RIS, text) == [
        {"TY": "JOUR", "abstract": "one,\nER then two\n\nthree", "KW": ["a", "b"]}
    ]


@pytest.mark.parametrize(
    ("lines", "doi"),
    [
        (["DO  - 10.1/a", "UR  - https://doi.org/10.1/b"], "10.1/a"),
        (["DO  - https://doi.org/10.1/a"], "https://doi.org/10.1/a"),
        (["DO  - n/a", "UR  - http://dx.doi.org/10.1/b"], "http://dx.doi.org/10.1/b"),
        (["DO  - n/a"], "n/a"),
        (["DO  - 10.1/a", "DO  - 10.1/a"], "10.1/a"),
        (["DO  - 10.1/a", "DO  - 10.1/b"], ["10.1/a", "10.1/b"]),
        (["UR  - https://www.x.org/doi/10.1/b"], None),
        (["UR  - https://x.org/?cites=https://doi.org/10.1/b"], None),
        (["UR  - https://x.org", "UR  - https://doi.org/10.1/b"], "https://doi.org/10.1/b"),
        (["UR  - https://doi-org.proxy.edu/10.1/b"], "https://doi-org.proxy.edu/10.1/b"),
        (["UR  - https://doi.org/10.1/b", "Record #2"], "https://doi.org/10.1/b"),
        (["L3  - 10.1000/b"], "10.1000/b"),
        (["M3  - doi: 10.1000/b"], "doi: 10.1000/b"),
        (["M3  - Article, see 10.1000/b"], None),
        (["N1  - cites 10.1000/b", "AB  - 10.1000/c"], None),
    ],
)
def test_the_papers_own_doi(lines: list[str], doi: str | list[str] | None) -> None:
    found = read(RIS, "\n".join(["TY  - JOUR", *lines]))[0].get("doi")
    assert found == doi


@pytest.mark.parametrize(
    ("lines", "year"),
    [
        (["PY  - 1948/07//"], "1948/07//"),
        (["PY  - 10 15"], "10 15"),
        (["PY  - 10 15", "DA  - 2019///"], "2019///"),
        (["Y1  - 24-27 Sept. 2019"], "2019"),
        (["Y1  - 1 Jan.-Feb. 2019", "PY  - 2018"], "2018"),
        (["Y1  - 2019 to 2020"], "2019 to 2020"),
        (["Y1  - Dec. 2019 to Jan. 2020"], "Dec. 2019 to Jan. 2020"),
        (["PY  - in press"], "in press"),
        (["PY  -"], None),
    ],
)
def test_a_year_is_looked_for(lines: list[str], year: str | None) -> None:
    assert read(RIS, "\n".join(["TY  - JOUR", *lines]))[0].get("year") == year


def test_a_chapter_is_no_book() -> None:
    chapter = "TY  - CHAP\nT1  - The chapter\nBT  - The book\n"
    assert ours(read(RIS, chapter)[0]) == {"title": "The chapter", "venue": "The book"}
    assert ours(read(RIS, "TY  - BOOK\nBT  - The book\n")[0]) == {"title": "The book"}
    both = "TY  - JOUR\nJO  - Nat.\nJF  - Nature\nT2  - Sub\n"
    assert read(RIS, both)[0] == {"TY": "JOUR", "venue": "Nature", "JO": "Nat.", "T2": "Sub"}


def test_pubmed_wraps_its_lines() -> None:
    text = (
        "\nPMID- 1\nOWN - NLM\nTI  - A long\n      title.\nLID - S01 [pii]\nLID - 10.1002/(SICI)1\n"
        "      [doi]\nAB  - We\n      AID - not a tag\nDP  - 1998 Dec-1999 Jan\nTA  - Nat\n"
        "JT  - Nature\nSO  - Nat. doi: 10.1/cited\n\nPMID- 2\nOWN - NLM\nAID - 10.1/b [doi]\n"
        "\nOWN - ERIC\nTI  - c\nAID - http://dx.doi.org/10.1/c\nISSN - 1\nOWN - ERIC\nTI  - d\n"
    )
    first, second, third, fourth = read(NBIB, text)
    assert ours(first) == {
        "doi": "10.1002/(SICI)1",
        "title": "A long\ntitle.",
        "abstract": "We\nAID - not a tag",
        "year": "1998 Dec-1999 Jan",
        "venue": "Nature",
    }
    assert ours(second) == {"doi": "10.1/b"}
    assert ours(third) == {"doi": "http://dx.doi.org/10.1/c", "title": "c"}
    assert ours(fourth) == {"title": "d"}


def test_web_of_science_cites() -> None:
    text = (
        "FN Clarivate Analytics Web of Science\nVR 1.0\nPT J\nTI A title\n   of two lines\n"
        f"CR SMITH J, 2001, V1, DOI 10.1/cited\n   JONES A, DOI 10.1/cited2\nEA DEC 2020\n"
        f"DI {NUMPY}\nD2 10.1/book\nSO NATURE\nER\n\nPT J\nCR X, DOI 10.1/cited\nER\n\nEF"
    )
    first, second = read(WEB_OF_SCIENCE, text)
    assert ours(first) == {
        "doi": NUMPY,
        "title": "A title\nof two lines",
        "year": "2020",
        "venue": "NATURE",
    }
    assert second == {"PT": "J", "CR": "X, DOI 10.1/cited"}


def test_endnote() -> None:
    text = f"%0 Journal Article\n%T A\n%J B\n%D 2020\n%R {NUMPY}\n%X c\nd\n\n%0 Book\n%T e\n"
    first, second = read(ENDNOTE, text)
    assert ours(first) == {
        "doi": NUMPY,
        "title": "A",
        "venue": "B",
        "year": "2020",
        "abstract": "c\nd",
    }
    assert second == {"%0": "Book", "title": "e"}


def test_a_record_has_its_limit() -> None:
    flood = (b"y" * 100 for _ in range(10_000))
    given: Iterator[bytes] = iter([b"TY  - JOUR", *flood, b"TY  - BOOK", b"DO  - 10.1/a"])
    first, second = RIS.records(enumerate(given, start=1), limit=LIMIT)
    assert len(first[1]) == LIMIT + 1
    assert second == (10_002, b"TY  - BOOK\nDO  - 10.1/a")


@pytest.mark.parametrize(
    ("head", "dialect"),
    [
        (b"\xef\xbb\xbfTY  - JOUR\r\n", RIS),
        (b"1.\n\n\rTY  - JOUR\n", RIS),
        (b"\nPMID- 123\r\n", NBIB),
        (b"\nOWN - ERIC\n", NBIB),
        (b"FN Clarivate Analytics Web of Science\r\nVR 1.0", WEB_OF_SCIENCE),
        (b"\xef\xbb\xbfFN Thomson Reuters Web of Knowledge", WEB_OF_SCIENCE),
        (b"PT J\r\nAU Doe, J", WEB_OF_SCIENCE),
        (b"%0 Journal Article\n", ENDNOTE),
        (b"PT\tAU\tTI\n", None),
        (b"10.1/a\n# TY  - JOUR\n", None),
        (b"doi,title\n10.1/a,PT J\n", None),
    ],
)
def test_a_dialect_is_told_by_its_first_lines(head: bytes, dialect: Dialect | None) -> None:
    assert looks_like(head) is dialect


TAGS = ["TY  - ", "ER  - ", "DO  - ", "UR  - ", "PY  - ", "PMID- ", "OWN - ", "LID - ", "AID - "]
TAGS += [
    "PT ",
    "ER",
    "EF",
    "DI ",
    "PY ",
    "%0 ",
    "%R ",
    "%U ",
    "      ",
    "",
    "\ufeff",
    "\r",
    " [doi]",
]
TEXTS = st.lists(st.sampled_from([*TAGS, "\n", "\n\n", "10.1/a", "2019"]) | st.text(max_size=9))


@given(TEXTS.map("".join), st.sampled_from(list(DIALECTS.values())), st.integers(1, 60))
def test_any_text_gives_texts(text: str, dialect: Dialect, limit: int) -> None:
    found = list(dialect.records(numbered(text.replace("\ud800", "")), limit=limit))
    assert all(len(raw) <= limit + 1 for _, raw in found)
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    for _, raw in found:
        for value in dialect.parse(raw.decode(errors="replace")).values():
            assert isinstance(value, str) or all(isinstance(one, str) for one in value)


UNITS = ["x\n", "10.1/", "[doi", "a [doi", "\n", "2019a", " ", "doi.org", "doi:", "UR  - 10.1\n"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_no_record_takes_long(dialect: Dialect, unit: str) -> None:
    flood = unit * (5 * 10**4 // len(unit)) + "."
    for tag in ("DO  - ", "UR  - ", "M3  - ", "PY  - ", "LID - ", "AID - ", "DI ", "%R ", "%U "):
        text = f"TY  - JOUR\nPMID- 1\nPT J\n%0 Book\n{tag}{flood}"
        for _, raw in dialect.records(numbered(text), limit=2**20):
            assert dialect.parse(raw.decode())


def from_file(name: str) -> list[dict[str, Any]]:
    path = DATA / "files" / name
    dialect = looks_like(path.read_bytes())
    assert dialect, name
    with opened(str(path)) as source:
        found = dialect.records(lines(source.stream, limit=2**20), limit=2**20)
        return [dialect.parse(raw.decode()) for _, raw in found]


# Name, how many records, how many of them with a DOI, title, abstract, year, venue.
FILES = {
    "asreview_faulty_year.ris": (1, 0, 1, 1, 1, 0),
    "ieee.ris": (25, 24, 25, 25, 25, 25),
    "rispy_example_empty_tag.ris": (1, 1, 1, 1, 1, 1),
    "rispy_example_extraneous_data.ris": (2, 0, 2, 2, 2, 2),
    "rispy_example_multiline.ris": (3, 0, 0, 3, 0, 0),
    "zotero_pubmed.ris": (2, 2, 2, 2, 2, 2),
    "colrev_eric.nbib": (1, 1, 1, 1, 1, 1),
    "jabref_pubmed.nbib": (1, 1, 1, 1, 1, 1),
    "rispy_example_wos_tagged.txt": (1, 0, 1, 1, 0, 1),
}


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", FILES)
def test_real_exports(name: str) -> None:
    found = from_file(name)
    counts = (
        sum(field in r for r in found) for field in ("doi", "title", "abstract", "year", "venue")
    )
    assert (len(found), *counts) == FILES[name]
