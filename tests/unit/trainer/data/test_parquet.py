"""Parquet files of other people: what they hold costs its row, and no more memory than it may."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.job import Rejection
from schemas.pair import LabelledPair
from tests.support.damage import refusals
from tests.support.memory import reading
from trainer.data import pair_files
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings

A, B, C = "10.1000/a", "10.1000/b", "10.1000/c"
MIB = 2**20
MOST_MIB = 250


def write(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "a.parquet"
    given = {"doi_a": [A], "doi_b": [B], "label": [1]} | columns
    pq.write_table(pa.table(given), path, **options)
    return path


def read(path: Path) -> list[LabelledPair | Rejection]:
    return list(pair_files.read(str(path), limits=LimitSettings()))


def not_utf8(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    "texts",
    [
        not_utf8(A.encode(), b"\xff\xfe", C.encode()),
        not_utf8(A.encode(), b"\xff\xfe", C.encode()).dictionary_encode(),
        pa.array([A, "10.1/\0", C], pa.large_string()),
        pa.array([A, None, C], pa.string_view()),
        pa.array([A, "x" * 2 * MIB, C]),
        pa.array([A.encode(), b"", C.encode()]),
    ],
)
def test_a_text_that_cannot_be_read_costs_its_row(tmp_path: Path, texts: pa.Array) -> None:
    found = read(write(tmp_path, {"doi_a": texts, "doi_b": [B, B, B], "label": [1, 1, 0]}))
    first, bad, last = found
    assert isinstance(first, LabelledPair)
    assert isinstance(bad, Rejection)
    assert isinstance(last, LabelledPair)
    assert (first.doi_a, bad.line, last.doi_a, last.label) == (A, 2, C, 0)
    assert bad.raw.startswith("{'doi_a': ")
    assert len(bad.raw) <= 200


@pytest.mark.parametrize(
    ("label", "expected"),
    [([1.0, 0.0], [1, 0]), (pa.array([1, 0], pa.int8()), [1, 0]), ([True, False], [1, 0])],
)
def test_labels_are_numbers(tmp_path: Path, label: Any, expected: list[int]) -> None:
    found = read(write(tmp_path, {"doi_a": [A, C], "doi_b": [B, B], "label": label}))
    kept = [pair.label for pair in found if isinstance(pair, LabelledPair)]
    assert kept == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"doi_a": [[A]]}, "the column `doi_a` holds list<"),
        ({"group": [{"x": 1}]}, "the column `group` holds struct<"),
        ({"label": pa.array([1], pa.time32("s"))}, "the column `label` holds time32"),
        ({"DOI_A": [B]}, "more than one column `doi.a`"),
    ],
)
def test_a_column_of_another_kind_is_refused(tmp_path: Path, columns: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path, columns))


def huge_text(folder: Path) -> Path:
    return write(folder, {"group": ["x" * 300 * MIB]}, compression="zstd")


def huge_text_of_which_the_footer_lies(folder: Path) -> Path:
    path = huge_text(folder)
    whole = path.read_bytes()
    told = pq.read_metadata(path).row_group(0).column(3).total_uncompressed_size
    assert whole.count(number(told)) == 1
    path.write_bytes(whole.replace(number(told), number(1000, bytes_=len(number(told)))))
    return path


def number(value: int, *, bytes_: int = 1) -> bytes:
    """A positive integer in Thrift's compact protocol, made longer with zeros."""
    groups = [value * 2 >> shift & 0x7F for shift in range(0, 70, 7)]
    while len(groups) > bytes_ and not groups[-1]:
        groups.pop()
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


@pytest.mark.parametrize("make", [huge_text, huge_text_of_which_the_footer_lies])
def test_a_page_without_measure_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    assert path.stat().st_size < 20_000
    count, grown, said = reading("trainer.data.pair_files", str(path))
    assert count == 0
    assert grown < MOST_MIB
    assert "a page of 314,572,804 bytes in one of its columns; 33,554,432 are allowed" in said


def long_texts(folder: Path) -> Path:
    texts = (f"{n:x}" * 16 * MIB for n in range(16))
    schema = pa.schema({name: pa.string() for name in ("doi_a", "doi_b", "label", "group")})
    path = folder / "a.parquet"
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as file:
        batch = [pa.array([value]) for value in (A, B, "1")]
        rows = [pa.RecordBatch.from_arrays([*batch, pa.array([t])], schema=schema) for t in texts]
        file.write_table(pa.Table.from_batches(rows))
    return path


def one_long_text_again_and_again(folder: Path) -> Path:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1500, pa.int32()), ["x" * MIB])
    pairs = {"doi_a": [A] * 1500, "doi_b": [B] * 1500, "label": [1] * 1500}
    return write(folder, pairs | {"group": texts}, compression="zstd")


def many_rows(folder: Path) -> Path:
    once = pa.DictionaryArray.from_arrays(pa.array([0] * 300_000, pa.int32()), [A])
    return write(folder, {"doi_a": once, "doi_b": [B] * 300_000, "label": [1] * 300_000})


UNFOLDING = [(long_texts, 16), (one_long_text_again_and_again, 1500), (many_rows, 300_000)]


@pytest.mark.parametrize(("make", "expected"), UNFOLDING)
def test_what_unfolds_is_read_a_little_at_a_time(
    tmp_path: Path, make: Callable[[Path], Path], expected: int
) -> None:
    path = make(tmp_path)
    assert path.stat().st_size < 100_000
    count, grown, said = reading("trainer.data.pair_files", str(path))
    assert count == expected
    assert not said or said.startswith(f"{path}: none of its {count:,} records can be read: ")
    assert grown < MOST_MIB


def test_a_file_of_many_row_groups_is_read_in_its_order(tmp_path: Path) -> None:
    dois = [f"10.1000/{n}" for n in range(5000)]
    pairs = {"doi_a": dois, "doi_b": [A] * 5000, "label": [1] * 5000}
    found = read(write(tmp_path, pairs, row_group_size=1500))
    assert [pair.doi_a for pair in found if isinstance(pair, LabelledPair)] == dois


def test_many_categories_are_refused(tmp_path: Path) -> None:
    texts = pa.array([f"{n:x}" * MIB for n in range(100)]).dictionary_encode()
    pairs = {"doi_a": [A] * 100, "doi_b": [B] * 100, "label": [1] * 100, "group": texts}
    path = write(tmp_path, pairs, compression="zstd", write_batch_size=1, use_dictionary=False)
    with pytest.raises(SourceError, match="bytes of categories; 67,108,864 are allowed"):
        read(path)


def test_damage_is_told_in_a_line_or_costs_its_row(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "doi_a": [A, B, C],
            "doi_b": ["10.1000/x"] * 3,
            "label": [1, 0, 1],
            "group": pa.array(["g", "h", "g"]).dictionary_encode(),
        },
    )
    whole = path.read_bytes()
    dice = random.Random(7)

    def damaged(_: int) -> bytes:
        content = bytearray(whole)
        for _ in range(dice.randrange(1, 3)):
            content[dice.randrange(len(whole))] = dice.randrange(256)
        return bytes(content)

    said = refusals(path, map(damaged, range(500)), read=read)
    assert len(said) > 100
    assert not any("\n" in line for line in said)
