"""Texts in any encoding and with any line ends are read as what they say."""

import codecs
import gzip
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Document
from schemas.job import Rejection
from worker.errors import ConfigurationError, SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.encodings import encoding_of, known_encoding, likely_encoding
from worker.sources.options import SourceOptions
from worker.sources.records import read
from worker.sources.report import Report

LIMITS = LimitSettings()
A, B = "10.1000/a", "10.1000/b"
TABLE = f"Title,DOI,Year\nÜber Bücher – “naïve”,{A},2020\nOther,{B},2021\n"
EXPECTED = [
    Document(doi=A, title="Über Bücher – “naïve”", year=2020),
    Document(doi=B, title="Other", year=2021),
]


def records(path: Path, content: bytes, **options: str) -> list[Document | Rejection]:
    path.write_bytes(content)
    return list(read(str(path), limits=LIMITS, options=SourceOptions(**options)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_unicode_is_told_by_its_first_bytes(tmp_path: Path, encoding, end, compress) -> None:
    content = compress(TABLE.replace("\n", end).encode(encoding))
    assert records(tmp_path / "a.csv", content) == EXPECTED


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE])
def test_a_mark_tells_the_order_of_bytes(tmp_path: Path, mark: bytes) -> None:
    encoding = encoding_of(mark)[0]
    assert records(tmp_path / "a.csv", mark + TABLE.encode(encoding)) == EXPECTED


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "gb18030", "utf-7", "utf-16"])
def test_another_encoding_is_read_as_it_is_told(tmp_path: Path, encoding: str) -> None:
    content = TABLE.encode(encoding)
    assert records(tmp_path / "a.csv", content, encoding=encoding) == EXPECTED


def test_a_mark_says_more_than_a_person(tmp_path: Path) -> None:
    content = TABLE.encode("utf-8-sig")
    assert records(tmp_path / "a.csv", content, encoding="cp1252") == EXPECTED


@pytest.mark.parametrize(
    ("encoding", "damage"),
    [("utf-16-le", b"\x00\xd8"), ("utf-16-be", b"\xdc\x00"), ("cp1252", b"\x81")],
)
def test_what_is_damaged_costs_its_line(tmp_path: Path, encoding: str, damage: bytes) -> None:
    lines = [part.encode(encoding) for part in (f"{A}\n", "\n", f"{B}\n")]
    content = lines[0] + b"10.1000/x".decode().encode(encoding) + damage + lines[1] + lines[2]
    options = {} if encoding.startswith("utf") else {"encoding": encoding}
    found = records(tmp_path / "a.txt", content, **options)
    assert [getattr(r, "doi", None) or r.line for r in found] == [A, 2, B]


def test_half_a_character_at_the_end_costs_its_line(tmp_path: Path) -> None:
    found = records(tmp_path / "a.txt", f"{A}\n{B}".encode("utf-16-le") + b"x")
    assert [getattr(r, "doi", None) or r.line for r in found] == [A, 2]


def test_what_is_not_utf8_is_told_in_one_line(tmp_path: Path) -> None:
    path, report = tmp_path / "a.csv", Report()
    path.write_bytes(TABLE.encode("cp1252"))
    found = list(read(str(path), limits=LIMITS, report=report))
    assert [getattr(r, "doi", None) or r.reason for r in found] == ["not UTF-8 at byte 1", B]
    assert report.reading.notes == (
        f"{path}: not UTF-8; it looks like cp1252: --encoding cp1252 reads it (1 lines)",
    )
    path.write_bytes(f"DOI,Title\n{A},é\n".encode("cp1252"))
    with pytest.raises(SourceError, match=r"a\.csv: not UTF-8; it looks like cp1252: --encoding"):
        list(read(str(path), limits=LIMITS))


PEOPLE = {
    "cp1252": "Über die Größe; l’été à Besançon; ¿Qué es? São João; “smart” – quotes",
    "cp1250": "Příliš žluťoučký kůň; Zażółć gęślą jaźń",
    "cp1251": "Съешь же ещё этих мягких французских булок",
    "mac_roman": "Über die Größe; l’été à Besançon; ¿Qué es? São João",
    "gb18030": "一种新的深度学习方法",
    "cp932": "日本語の論文のタイトルをここに書く",
    "euc_kr": "한국어 논문 제목을 여기에 쓴다",
}


@pytest.mark.parametrize("encoding", PEOPLE)
def test_the_likeliest_encoding_is_named(encoding: str) -> None:
    assert likely_encoding(PEOPLE[encoding].encode(encoding)) == encoding


@pytest.mark.parametrize("name", ["hex", "rot13", "nope", "idna", "punycode", "x\0", "../x"])
def test_what_is_no_encoding_of_texts_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no encoding; cp1252"):
        known_encoding(name)
    assert known_encoding("Latin-1") == "Latin-1"


@given(
    st.binary(max_size=200), st.sampled_from([*PEOPLE, "utf-16", "utf-32", "shift_jis", "utf-7"])
)
def test_any_bytes_in_any_encoding_raise_nothing_but_source_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, encoding: str
) -> None:
    with suppress(SourceError):
        records(tmp_path_factory.mktemp("a") / "a.csv", b"doi\n" + content, encoding=encoding)
    assert likely_encoding(content)


def test_carriage_returns_alone_end_lines(tmp_path: Path) -> None:
    assert records(tmp_path / "a.csv", TABLE.replace("\n", "\r").encode()) == EXPECTED
    found = records(tmp_path / "a.txt", f"{A}\r{B}\rx".encode())
    assert [getattr(r, "doi", None) or r.line for r in found] == [A, B, 3]
