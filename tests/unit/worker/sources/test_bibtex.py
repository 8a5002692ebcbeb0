"""BibTeX: each entry by itself, abbreviations across entries, and no DOI but the entry's own."""

import logging
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import DATA
from worker.sources import bibtex
from worker.sources.bibtex import Bibtex
from worker.sources.streams import Line, lines, opened

LIMIT = 10_000
OURS = ("doi", "title", "abstract", "year", "venue")


def numbered(text: str) -> Iterator[Line]:
    return enumerate((line.encode() for line in text.split("\n")), start=1)


def read(text: str, limit: int = LIMIT) -> list[tuple[int, dict[str, Any] | str]]:
    """Of each entry its line, and its fields or why it is none."""
    found: list[tuple[int, dict[str, Any] | str]] = []
    file = Bibtex()
    for number, raw in file.records(numbered(text), limit=limit):
        try:
            found.append((number, file.parse(raw.decode())))
        except ValueError as error:
            found.append((number, str(error)))
    return found


def fields(text: str) -> dict[str, Any]:
    [(_, found)] = read(text)
    assert isinstance(found, dict), found
    return found


def test_an_entry() -> None:
    text = """
    @Article (key,
      Title = "The {E}vidence of {\\"O}" # { and more},
      JOURNAL = {Nature \\& Science}, year = 2020, month = jun,
      DOI = {10.1/a}, abstract = {We, @all, find: 50% # of "it"}, pages = {1--2},
    )"""
    assert fields(text) == {
        "title": "The Evidence of Ö and more",
        "venue": "Nature & Science",
        "year": "2020",
        "doi": "10.1/a",
        "abstract": 'We, @all, find: 50% # of "it"',
        "month": "jun",
        "pages": "1--2",
    }


def test_biblatex() -> None:
    text = "@article{a, date = {2006-05/2007}, journaltitle = {J}, journal = {x}, title = {{T}}}"
    assert fields(text) == {"title": "T", "year": "2006-05/2007", "venue": "J", "journal": "x"}
    assert fields("@inproceedings{a,title={T},booktitle={B},}") == {"title": "T", "venue": "B"}


def test_whole_entries_on_a_line() -> None:
    text = (
        " @article{1, DOI={10.1/a}, year={2020} } @book{2,title={b}}@misc{3, title={c}}\n\n@x{4,}"
    )
    assert read(text) == [
        (1, {"doi": "10.1/a", "year": "2020"}),
        (1, {"title": "b"}),
        (1, {"title": "c"}),
        (3, {}),
    ]


@pytest.mark.parametrize(
    "broken",
    [
        "@article{a, title = {never closed,\n doi = {10.1/broken},\n}",
        "@article{a, title",
        "@article{a, title = ",
        '@article{a, title = "x\n}',
        "@article{",
        "@article{a, title = {x}, doi = {10.1/broken}",
    ],
)
def test_a_broken_entry_costs_no_other(broken: str) -> None:
    text = f"@article{{1, doi = {{10.1/a}}}}\n{broken}\n@article{{2, doi = {{10.1/b}}}}\n"
    first, second, third = read(text)
    assert (first[1], third[1]) == ({"doi": "10.1/a"}, {"doi": "10.1/b"})
    assert isinstance(second[1], str)
    assert second[0] == 2
    assert second[1].startswith("not a BibTeX entry: ")
    assert "\n" not in second[1]


def test_a_doi_outside_of_entries_is_told() -> None:
    entry = "@article{1, doi = {10.1000/b}}"
    text = f"10.1000/a\n% 10.1000/x\nmine\n{entry}\n10.1000/c\n{entry}"
    found = sorted(read(text), key=itemgetter(0))
    assert [number for number, _ in found] == [1, 4, 5, 6]
    assert [isinstance(reason, str) for _, reason in found] == [True, False, True, False]


def test_a_broken_entry_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert read("@article{a, title = ")
    assert caplog.records == []


def test_abbreviations_hold_from_where_they_are_defined() -> None:
    text = """@string{ nat = {Nature} }
@STRING(both = nat # " \\& " # "Science")
@string{broken =
@preamble{"\\newcommand{x}"} @comment{jabref-meta: @article}
@set{s, entryset = {a,b}}
@article{a, journal = nat}
@article{b, journal = BOTH, title = {A } # nat # " B"}
@article{c, journal = later}
@string{later = "L"}
Text of no entry, @article too.
@article{d, journal = later}"""
    assert read(text) == [
        (6, {"venue": "Nature"}),
        (7, {"venue": "Nature & Science", "title": "A Nature B"}),
        (8, {"venue": "later"}),
        (11, {"venue": "L"}),
    ]


@pytest.mark.parametrize(
    "given",
    [
        "title = {A {B} c} year = 2000 doi = {10.1/a}",
        'title = "A {B} c" year = "2000"\n doi = "10.1/a"',
        "title = {A } # {B} # { c} year = 2000 doi = {10.1/a},",
    ],
)
def test_a_comma_may_be_missing(given: str) -> None:
    assert fields(f"@misc{{a, {given}}}") == {"title": "A B c", "year": "2000", "doi": "10.1/a"}


def test_what_stands_between_braces_stays() -> None:
    assert fields("@misc{a, title = {A} of {B}, year = in press}") == {
        "title": "A of B",
        "year": "in press",
    }


def test_of_a_field_that_is_there_twice_the_first_counts() -> None:
    text = "@article{a, title = {}, title = {first}, Title = {second}, doi = {10.1/a}}"
    assert fields(text) == {"title": "first", "doi": "10.1/a"}


@pytest.mark.parametrize(
    ("given", "doi"),
    [
        ("doi = {10.1007/978-3\\_10}", "10.1007/978-3_10"),
        ("doi = {10.1007/978-3{\\_}10}", "10.1007/978-3_10"),
        (
            "doi = {10.1002/(SICI)1{\\textless}1::AID{\\textgreater}3--0}",
            "10.1002/(SICI)1<1::AID>3--0",
        ),
        ("doi = {10.1002/1$<$1::AID$>$3}", "10.1002/1<1::AID>3"),
        ("doi = {\\url{https://doi.org/10.1/a~b}}", "https://doi.org/10.1/a~b"),
        ("doi = {10.1/a}, url = {https://doi.org/10.1/b}", "10.1/a"),
        ("url = {https://doi.org/10.1/b}", "https://doi.org/10.1/b"),
        ("howpublished = {\\url{http://dx.doi.org/10.1/b}}", "http://dx.doi.org/10.1/b"),
        ("doi = {n/a}, note = {doi:10.1/b}", "doi:10.1/b"),
        ("doi = {n/a}", "n/a"),
        ("url = {https://www.x.org/doi/10.1/b}", None),
        ("note = {A comment on https://doi.org/10.1/b}", None),
        ("cites = {10.1/b}, crossref = {10.1/c}", None),
    ],
)
def test_the_entrys_own_doi(given: str, doi: str | None) -> None:
    assert fields(f"@misc{{a, {given}}}").get("doi") == doi


def test_a_record_has_its_limit() -> None:
    flood = "\n".join(["y" * 99] * 1000)
    text = f"@article{{a, title = {{{flood}\n@article{{b, doi = {{10.1/a}}}}\n{flood}"
    file = Bibtex()
    found = list(file.records(numbered(text), limit=LIMIT))
    assert [(number, len(raw)) for number, raw in found] == [(1, LIMIT + 1), (1001, LIMIT + 1)]


def test_abbreviations_of_abbreviations_do_not_explode() -> None:
    doubling = "\n".join(f"@string{{a{n + 1} = a{n} # a{n}}}" for n in range(60))
    text = f'@string{{a0 = "{"x" * 100}"}}\n{doubling}\n'
    assert read(text + "@misc{a, title = a6}") == [(62, {"title": "x" * 6400})]
    assert len(str(read(text + "@misc{a, title = a60}"))) < 10_000
    [(_, reason)] = read(text + f"@misc{{a, title = {'#'.join(['a6'] * 2000)}}}")
    assert reason == "a value of more than 1048576 characters"


PIECES = [
    "@article{",
    "@string{",
    "@misc(",
    "@comment{",
    "@",
    "{",
    "}",
    ")",
    '"',
    "=",
    ",",
    "#",
    "\n",
]
PIECES += [
    "a",
    "title",
    "doi",
    "10.1/a",
    "\\",
    "\\url{",
    " ",
    "@{",
    "{}",
    "= {",
    "},",
    "@string{a = ",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=40).map("".join))
def test_any_text_is_entries_or_reasons(text: str) -> None:
    for _, found in read(text):
        if isinstance(found, dict):
            assert all(isinstance(value, str) and value for value in found.values())


PARTS = ["{", "}", "\\", '\\"', "{o}", " ", "\n", ",", "=", "#", '"', "a", "é", "{b{c}}", "10.1/a"]
VALUES = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)


@given(st.lists(st.tuples(st.sampled_from(["title", "DOI", "b-c"]), VALUES), max_size=4))
def test_plain_entries_are_read_as_bibtexparser_reads_them(given: list[tuple[str, str]]) -> None:
    text = "@misc{k" + "".join(f",\n {name} = {{{value}}}" for name, value in given) + ",}\n"
    found = bibtex._plain_fields(text)
    assert not found or found == bibtex._fields_of(text)


def test_most_entries_are_plain() -> None:
    fields = "title = {The {\\'{E}}t\\'e}, year = 2020 , month=jun, doi={10.1/a}\n"
    found = bibtex._plain_fields(f"@article{{a-1:b, {fields}}}")
    assert [name for name, _ in found] == ["title", "year", "month", "doi"]
    assert not bibtex._plain_fields("@article{a, title = {b} # c}")


@pytest.mark.parametrize(
    "unit", [*PIECES, "a = {b}, ", "@x{ ", "\n@", " \t", '{"}', "a#", "doi.org"]
)
def test_no_entry_takes_long(unit: str) -> None:
    flood = unit * (2 * 10**5 // len(unit))
    for start in ("@article{a, title = {", "@article{a, url = ", "@article{", "@string{a = ", ""):
        read(f"{start}{flood}", limit=2**20)


# Entries, and how many of them with a DOI, title, abstract, year, venue.
FILES = {
    "colrev_three.bib": (4, 0, 4, 0, 4, 4),
    "crossref_transform.bib": (6, 6, 4, 0, 5, 5),
    "jabref_BibtexImporter.examples.bib": (2, 0, 2, 0, 2, 1),
}


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", FILES)
def test_real_files(name: str) -> None:
    file = Bibtex()
    with opened(str(DATA / "files" / name)) as source:
        raw = list(file.records(lines(source.stream, limit=2**20), limit=2**20))
    found = [file.parse(text.decode()) for _, text in raw]
    counts = (sum(field in record for record in found) for field in OURS)
    assert (len(found), *counts) == FILES[name]
    assert not any(brace in record.get("title", "") for record in found for brace in "{}")
