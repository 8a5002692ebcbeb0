"""Sources are streamed to documents; each bad line is rejected by itself."""

import gzip
import json
import lzma
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Document
from schemas.job import Rejection
from tests.support.paths import DATA, EXAMPLES
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.records import identity, read

LIMITS = LimitSettings()
SMALL = LimitSettings(record_bytes=64)
NUMPY = "10.1038/s41586-020-2649-2"
SCIPY = "10.1038/s41592-019-0686-2"
SEABORN = "10.21105/joss.03021"
SICI = "10.1002/1522-2683(200108)22:14<2983::aid-elps2983>3.0.co;2-#"
NUMPY_DOCUMENT = Document(
    doi=NUMPY, title="Array programming with NumPy", year=2020, venue="Nature"
)
BLANK = b' ,"\t\r\n\v\f'
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def records(folder: Path, name: str, content: str | bytes, limits: LimitSettings = LIMITS) -> list:
    return list(read(write(folder, name, content), limits=limits))


def read_up(folder: Path, name: str, content: bytes, limits: LimitSettings = LIMITS) -> list:
    """What is read of a source that may hold no record at all."""
    found: list = []
    with suppress(SourceError):
        for record in read(write(folder, name, content), limits=limits):
            found.append(record)  # noqa: PERF402 - those before the error count
    return found


def dois(found: list) -> list[str | int]:
    """DOIs, and of rejections the line."""
    return [r.doi if isinstance(r, Document) else r.line for r in found]


def read_standard_input(content: bytes) -> list[str]:
    code = (
        "import sys; from worker.sources.records import read\n"
        "from worker.settings.ingest import LimitSettings\n"
        "for r in read('-', limits=LimitSettings()): print(getattr(r, 'doi', r))\n"
        "assert not sys.stdin.buffer.closed"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=False
    )
    return (run.stdout + run.stderr).decode().splitlines()


# Formats


@pytest.mark.parametrize("suffix", COMPRESS)
def test_txt_has_one_doi_a_line(tmp_path: Path, suffix: str) -> None:
    content = f"\ufeff{NUMPY}\n# scipy\n\n  # scipy\r\nhttps://doi.org/{SCIPY}\r\n{SEABORN.upper()}"
    found = records(tmp_path, f"a.txt{suffix}", COMPRESS[suffix](content.encode()))
    assert found == [Document(doi=NUMPY), Document(doi=SCIPY), Document(doi=SEABORN)]


def test_a_doi_that_ends_in_a_hash_is_no_comment(tmp_path: Path) -> None:
    assert dois(records(tmp_path, "a.txt", SICI)) == [SICI]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.TSV", "\t")])
def test_tables_take_the_known_columns(
    tmp_path: Path, name: str, delimiter: str, suffix: str
) -> None:
    rows = [
        [" DOI", "Cited", "Year", "title", "Venue"],
        [NUMPY, "1", "2020-09-16", "Array programming with NumPy", "Nature"],
        [SCIPY, "2"],
        [SEABORN, "3", "", " ", ""],
    ]
    content = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows)
    found = records(tmp_path, name + suffix, COMPRESS[suffix](content.encode()))
    assert found == [NUMPY_DOCUMENT, Document(doi=SCIPY), Document(doi=SEABORN)]


def test_quoted_fields_hold_delimiters_quotes_and_lines(tmp_path: Path) -> None:
    content = (
        "title,doi\n"
        '"SciPy 1.0: fundamental\n\nalgorithms, and ""more""",10.1038/s41592-019-0686-2\n'
        f'no DOI,\n,,\n"{"x" * 200_000}",{NUMPY}\n'
    )
    found = records(tmp_path, "a.csv", content)
    assert found[0] == Document(doi=SCIPY, title='SciPy 1.0: fundamental algorithms, and "more"')
    assert dois(found) == [SCIPY, 5, NUMPY]


def test_a_quote_that_is_not_closed_loses_its_own_line_alone(tmp_path: Path) -> None:
    content = f'doi,title\n{NUMPY},"Array\n{SCIPY},SciPy\n{SEABORN},"seaborn, plots"\n'
    found = records(tmp_path, "a.csv", content)
    assert dois(found) == [2, SCIPY, SEABORN]
    assert found[0].reason == "a quoted field does not end where it should"
    assert found[0].raw == f'{NUMPY},"Array'


def test_a_quoted_field_is_followed_no_further_than_a_record_may_be_long(tmp_path: Path) -> None:
    content = "\n".join(["doi,title", f'{NUMPY},"Array', *[f"{SCIPY},"] * 100, f'{SEABORN},"'])
    found = records(tmp_path, "a.csv", content, LimitSettings(record_bytes=100))
    assert dois(found) == [2, *[SCIPY] * 100, 103]


def test_a_tsv_may_have_quotes_that_quote_nothing(tmp_path: Path) -> None:
    content = f'doi\ttitle\n{NUMPY}\t"Array" programming\n{SCIPY}\t"Sci\n{SEABORN}\t"a\tb"\n'
    found = records(tmp_path, "a.tsv", content)
    assert [r.title for r in found] == ['"Array" programming', '"Sci', "a b"]


def test_a_row_with_more_fields_than_the_header_is_rejected(tmp_path: Path) -> None:
    content = f"doi,title\n{NUMPY},Arrays, programmed\n{SCIPY},SciPy,,\n"
    found = records(tmp_path, "a.csv", content)
    assert found[0] == Rejection(
        str(tmp_path / "a.csv"),
        2,
        f"{NUMPY},Arrays, programmed",
        "3 fields where the header line has 2",
    )
    assert found[1] == Document(doi=SCIPY, title="SciPy")


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson"])
def test_json_lines_are_objects_or_texts(tmp_path: Path, name: str, suffix: str) -> None:
    crossref = {"DOI": NUMPY, "title": ["Array programming with NumPy"], "type": "x", "ISSN": []}
    lines = [json.dumps(crossref | {"year": 2020, "venue": "Nature"}), "", json.dumps(SCIPY)]
    found = records(tmp_path, name + suffix, COMPRESS[suffix]("\n".join(lines).encode()))
    assert found == [NUMPY_DOCUMENT, Document(doi=SCIPY)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'doi': 1}", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[" * 100_000, "JSON nested too deeply"),
        ("3", "neither a DOI nor an object with a `doi`"),
        ('{"title": "x"}', "no DOI"),
        ('{"doi": "10.1038/\\ud800"}', "holds the control character U+D800"),
    ],
)
def test_a_bad_json_line_is_rejected_by_itself(tmp_path: Path, line: str, reason: str) -> None:
    found = records(tmp_path, "a.jsonl", f'"{SCIPY}"\n{line}\n"{SEABORN}"\n')
    assert dois(found) == [SCIPY, 2, SEABORN]
    assert found[1].reason.startswith(reason)
    assert found[1].raw == line


# Standard input


@pytest.mark.parametrize("compress", COMPRESS.values())
@pytest.mark.parametrize(
    "content", [f"# all\n{NUMPY}\n{SCIPY}\n", f'\ufeff\n{{"doi": "{NUMPY}"}}\n"{SCIPY}"\n']
)
def test_standard_input_is_told_by_its_first_bytes(content: str, compress) -> None:
    assert read_standard_input(compress(content.encode())) == [NUMPY, SCIPY]


def test_an_empty_source_is_no_error(tmp_path: Path) -> None:
    assert [records(tmp_path, f"a.{kind}", b" \n") for kind in ("txt", "csv", "jsonl")] == [[]] * 3


def test_standard_input_that_holds_no_records_says_so() -> None:
    assert read_standard_input(b"") == []
    assert read_standard_input(b"%PDF-1.7")[-1].endswith("SourceError: standard input: holds a PDF")


# Sources that are not what they say


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt.gz", b"", "empty: it holds no gz data"),
        ("a.txt", b"BZh91AY&SY", "holds bzip2 data; use gzip, xz or zstd"),
        ("a.txt", b"%PDF-1.7", "holds a PDF"),
        ("a.csv", b"PK\x03\x04\x14", "holds a ZIP archive"),
        ("a.csv", b"title,year\n", "no column `doi` among `title`, `year`; --column doi=NAME says"),
        ("a.csv", b"doi,DOI\n", "more than one column `doi` in its header line"),
        ("a.csv", b"\x89PNG\r\n\x1a\n", "no column `doi` among `\ufffdPNG`"),
        ("a.csv", b"doi" + b"x" * 2**21, "its header line can't be read: longer than the limit"),
        ("a.csv", b"doi,title\n", "it holds no record"),
        ("a.csv", b"doi,title\n,A\n", "none of its 1 records can be read: no DOI"),
        ("a.txt", b"# nothing\n", "it holds no record"),
        ("a.txt", gzip.compress(b"", mtime=0)[:-8], "cut off: its compressed data ends too early"),
        ("a.txt", b"numpy\n", "none of its 1 records can be read: no registrant prefix"),
        ("a.jsonl", b'{"title": "A"}', "no column `doi` among `title`; --column doi=NAME"),
        ("a.csv", NUMPY.encode(), "no header line: its first line holds a DOI"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(SourceError) as caught:
        records(tmp_path, name, content)
    assert str(caught.value).startswith(str(tmp_path / name) + ": ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").mkdir()
    for name, message in (("a.txt", "No such file or directory"), ("b.txt", "Is a directory")):
        with pytest.raises(SourceError, match=message):
            list(read(str(tmp_path / name), limits=LIMITS))


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".gz", lambda body: body[:-20], "cut off"),
        (".xz", lambda body: body[:-40], "cut off"),
        (".gz", lambda body: body + b"x", "damaged compressed data"),
        (".gz", lambda body: body[:-8] + b"\0" * 8, "damaged compressed data"),
    ],
)
def test_what_came_before_the_damage_is_read(tmp_path: Path, suffix, damage, message) -> None:
    lines = EXAMPLES.read_bytes()
    source = write(tmp_path, f"a.txt{suffix}", damage(COMPRESS[suffix](lines)))
    found = []
    with pytest.raises(SourceError, match=message):
        found.extend(dois([r]) for r in iter(read(source, limits=LIMITS)))
    whole = [dois([r]) for r in read(str(EXAMPLES), limits=LIMITS)]
    assert len(found) > (0 if suffix == ".xz" else 600)
    assert found == whole[: len(found)]


# Broken lines and limits


def test_broken_lines_are_rejected_by_themselves(tmp_path: Path) -> None:
    content = b"\n".join([NUMPY.encode(), b"10.1038/na\xefve", b"10.1/\0", SCIPY.encode()])
    found = records(tmp_path, "a.txt", content)
    source = str(tmp_path / "a.txt")
    assert found == [
        Document(doi=NUMPY),
        Rejection(source, 2, "10.1038/na\\xefve", "not UTF-8 at byte 11"),
        Rejection(source, 3, "10.1/\0", "a NUL at byte 6"),
        Document(doi=SCIPY),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_line_may_be_as_long_as_the_limit(tmp_path: Path, end: str) -> None:
    for length, reason in ((64, "DOI"), (65, "longer than the limit of 64 bytes")):
        content = f"{NUMPY}\n{'x' * length}{end}"
        _, found = records(tmp_path, "a.txt", content, SMALL)
        assert (found.line, found.raw[:64]) == (2, "x" * 64)
        assert ("longer" in found.reason) == ("longer" in reason)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_line_over_the_limit_is_skipped_in_pieces(tmp_path: Path, name: str) -> None:
    quote = '"' if name == "a.jsonl" else ""
    long = '"' * 400_000
    lines = [f"{quote}{NUMPY}{quote}", long, f"{quote}{SCIPY}{quote}"]
    head = ["doi"] if name == "a.csv" else []
    found = records(tmp_path, name, "\n".join(head + lines), SMALL)
    assert dois(found) == [NUMPY, 2 + len(head), SCIPY]
    assert found[1].reason == "longer than the limit of 64 bytes"
    assert len(found[1].raw) <= 200


def test_a_rejected_line_is_kept_in_full(tmp_path: Path) -> None:
    line = "not a DOI, " * 1000
    assert records(tmp_path, "a.txt", f"{line}\n{NUMPY}")[0].raw == line


@given(st.lists(st.binary(max_size=100) | st.sampled_from([NUMPY.encode(), b"# x", b'{"'])))
def test_arbitrary_lines_are_accounted_for_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    content = f"{NUMPY}\n".encode() * 100 + b"\n".join(parts)  # so that it is a list
    source = write(tmp_path_factory.mktemp("a"), "a.txt", content)
    lines = enumerate(content.split(b"\n"), start=1)
    expected = [n for n, line in lines if line.strip() and line.strip()[:1] != b"#"]
    found = list(read(source, limits=SMALL))
    assert len(found) == len(expected)
    assert {r.line for r in found if isinstance(r, Rejection)} <= set(expected)


@pytest.mark.parametrize(
    ("name", "head"), [("a.csv", "doi,x"), ("a.tsv", "doi\tx"), ("a.jsonl", "0")]
)
@given(parts=st.lists(st.text(',"\n\r\tx\0é').map(str.encode) | st.binary(max_size=9)))
def test_arbitrary_bytes_lose_no_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, head: str, parts: list[bytes]
) -> None:
    body = b"\n".join(parts)
    found = read_up(tmp_path_factory.mktemp("a"), name, head.encode() + b"\n" + body)
    found = [r for r in found if r.line > 1]
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    kept = [line.decode(errors="backslashreplace") for line in lines if line.strip(BLANK)]
    raws = "\n".join(r.raw for r in found).split("\n")
    assert [raw for raw in raws if raw.strip(BLANK.decode())] == kept
    assert [r.line for r in found] == sorted({r.line for r in found})


@given(st.binary(max_size=300), st.sampled_from([".txt", ".csv", ".jsonl"]), st.booleans())
def test_arbitrary_bytes_raise_nothing_but_source_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, compressed: bool
) -> None:
    body = gzip.compress(content)[: -len(content) or None] if compressed else content
    name = f"a{suffix}.gz" if compressed else f"a{suffix}"
    with suppress(SourceError):
        records(tmp_path_factory.mktemp("a"), name, body, SMALL)


# Identity


def test_the_identity_is_that_of_paths_sizes_and_times(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a.txt", NUMPY), write(tmp_path, "b.txt", SCIPY)
    first = identity([one, two])
    assert first == identity([os.path.relpath(one), two])
    assert first not in (identity([two, one]), identity([one]))
    os.utime(one, ns=(0, 1))
    assert identity([one, two]) != first
    assert identity([one, "-"]) is None
    latin = SourceOptions(encoding="latin-1", columns={"doi": "x"})
    assert identity([one, two], latin) not in (first, identity([one, two]))
    with pytest.raises(SourceError, match=r"c\.txt: No such file or directory$"):
        identity([one, str(tmp_path / "c.txt")])


# Real files


def test_every_example_is_a_doi() -> None:
    found = list(read(str(EXAMPLES), limits=LIMITS))
    assert all(isinstance(r, Document) for r in found)
    assert len({r.doi for r in found}) == len(found) > 700
    assert {NUMPY, SCIPY} < {r.doi for r in found}


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_real_dois_are_read_without_loss() -> None:
    found = list(read(str(DATA / "dois_100k.txt"), limits=LIMITS))
    assert len({r.doi for r in found if isinstance(r, Document)}) == len(found) == 100_000


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_of_real_metadata_only_damaged_dois_are_rejected() -> None:
    found = list(read(str(DATA / "metadata.jsonl.xz"), limits=LIMITS))
    assert len(found) == 127_811
    rejected = [json.loads(r.raw)["doi"] for r in found if isinstance(r, Rejection)]
    assert len(rejected) == 10
    assert all("," in doi for doi in rejected)
