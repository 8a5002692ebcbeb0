"""Parquet as a list of papers: what can't be read costs its field or is told, never the file."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.document import Document
from schemas.job import Rejection
from tests.support.memory import reading
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.records import read
from worker.sources.report import Report

A, B = "10.1000/a", "10.1000/b"
MIB = 2**20
MOST_MIB = 250


def write(folder: Path, columns: dict[str, Any], **options: Any) -> str:
    path = folder / "a.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def documents(source: str) -> list[Document | Rejection]:
    return list(read(source, limits=LimitSettings()))


def test_rows_are_documents(tmp_path: Path) -> None:
    columns = {
        "DOI": [A, None, B],
        "Title": ["One &amp; two", "no DOI", None],
        "publication_year": pa.array([2020, 1, None], pa.int16()),
        "abstract": pa.array(["<p>We", "", "x"], pa.large_string()),
        "journal": pa.array(["J", None, "J"]).dictionary_encode(),
    }
    first, none, last = documents(write(tmp_path, columns, compression="zstd"))
    assert first == Document(doi=A, title="One & two", abstract="We", year=2020, venue="J")
    assert isinstance(none, Rejection)
    assert none.line == 2
    assert last == Document(doi=B, abstract="x", venue="J")


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([date(2020, 5, 1), None]),
        pa.array([datetime(2020, 5, 1), None]),
        pa.array([datetime(2020, 5, 1), None], pa.timestamp("ns", tz="Europe/Nowhere")),
        pa.array([date(2020, 5, 1), None]).dictionary_encode(),
    ],
)
def test_a_date_tells_the_year(tmp_path: Path, dates: pa.Array) -> None:
    found = documents(write(tmp_path, {"doi": [A, B], "publication_date": dates}))
    assert found == [Document(doi=A, year=2020), Document(doi=B)]


def test_a_poor_text_costs_its_field(tmp_path: Path) -> None:
    titles = pa.array([b"\xff\xfe", b"a\0b", b"x" * 2 * MIB], pa.binary()).view(pa.string())
    report = Report()
    source = write(tmp_path, {"doi": [A, B, "10.1000/c"], "title": titles})
    found = list(read(source, limits=LimitSettings(), report=report))
    assert found == [Document(doi=A), Document(doi=B), Document(doi="10.1000/c")]


def test_a_column_of_another_kind_is_not_used(tmp_path: Path) -> None:
    columns = {"doi": [A], "venue": ["V"], "primary_location": [{"source": "x"}], "tags": [["t"]]}
    assert documents(write(tmp_path, columns)) == [Document(doi=A, venue="V")]
    with pytest.raises(SourceError, match="the column `title` holds list<"):
        documents(write(tmp_path, {"doi": [A], "title": [["One"]]}))


def test_a_row_group_may_be_empty(tmp_path: Path) -> None:
    empty = pa.table({"doi": pa.array([], pa.string())})
    with pq.ParquetWriter(tmp_path / "a.parquet", empty.schema) as file:
        for table in (empty, pa.table({"doi": [A]}), empty):
            file.write_table(table)
    assert documents(str(tmp_path / "a.parquet")) == [Document(doi=A)]
    pq.write_table(empty, tmp_path / "none.parquet")
    with pytest.raises(SourceError, match="it holds no record"):
        documents(str(tmp_path / "none.parquet"))


def test_without_a_doi_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column `doi` among `title`, `url`"):
        documents(write(tmp_path, {"title": ["One"], "url": ["x"]}))


def test_one_long_text_again_and_again_takes_little_memory(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["x" * (MIB // 8)])
    dois = [f"10.1000/{n}" for n in range(5000)]
    source = write(tmp_path, {"doi": dois, "abstract": texts}, compression="zstd")
    count, grown, said = reading("worker.sources.records", source)
    assert (count, said) == (5000, "")
    assert grown < MOST_MIB
