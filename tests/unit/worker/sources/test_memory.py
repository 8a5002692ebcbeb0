"""A small file takes little memory, whatever it unfolds to."""

import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.memory import reading
from tests.support.paths import DATA

GOOD = "10.1038/nphys1170"
MIB = 2**20
MOST_MIB = 64
TABLE = b"doi,title\n"


def flood(start: bytes, unit: bytes, count: int, end: bytes = b"") -> Callable[[], bytes]:
    return lambda: start + unit * count + b"\n" + end


def wide() -> bytes:
    names = ",".join(f"{n:x}" for n in range(160_000))
    return f"doi,{names}\n{GOOD}\n{GOOD}{',' * 900_000}\n{GOOD}\n".encode()


def keys() -> bytes:
    lines = (f'{{"doi":"{GOOD}","{n:x}":1,"y{n:x}":2}}\n' for n in range(50_000))
    return "".join(lines).encode() + JSON_AFTER


AFTER = f"{GOOD}\n".encode()
JSON_AFTER = f'"{GOOD}"\n'.encode()
# Name, content, how many records (those that are good come last).
FLOODS = {
    "one line": ("a.txt", flood(b"", b"a", 200 * MIB, AFTER), 2),
    "one line of NULs": ("a.txt", flood(b"", b"\0", 200 * MIB, AFTER), 2),
    "lines of NULs": ("a.csv", flood(b"doi\n", b"\0\n", 500_000, AFTER), 500_001),
    "one row": ("a.csv", flood(TABLE, b"a", 200 * MIB, AFTER), 2),
    "one open quote": ("a.csv", flood(TABLE, b'"' + b"a" * 99, 2 * MIB, AFTER), 2),
    "blank lines in a quote": ("a.csv", flood(TABLE + b'x,"', b"\n", 5 * MIB, AFTER), 2),
    "short lines in a quote": ("a.csv", flood(TABLE + b'x,"', b"\n,", 3 * MIB, AFTER), 2),
    "quotes that open quotes": ("a.csv", flood(TABLE, b'a","\n', 100_000, AFTER), 100_001),
    "a header without an end": ("a.csv", flood(b"doi,", b"a,", 100 * MIB), 0),
    "a million columns": ("a.csv", wide, 3),
    "one JSON line": ("a.jsonl", flood(b'"', b"a", 200 * MIB, JSON_AFTER), 2),
    "nested JSON": ("a.jsonl", flood(b"0\n", b"[", MIB - 1, JSON_AFTER), 3),
    "nested JSON objects": ("a.jsonl", flood(b"", b'{"a":', MIB // 5, JSON_AFTER), 2),
    "a JSON integer": ("a.jsonl", flood(b'{"doi":', b"9", MIB - 9, JSON_AFTER), 2),
    "a JSON array": ("a.json", flood(b"[", JSON_AFTER.strip() + b",\n", 200_000, b"]"), 200_000),
    "one element": ("a.json", flood(b'["', b"a", 200 * MIB, b'",' + JSON_AFTER + b"]"), 2),
    "nested elements": ("a.json", flood(b"[", b"[", 5 * MIB), 0),
    "an envelope without an end": ("a.json", flood(b'{"items":[', b'{"a":', 2 * MIB), 0),
    "an object of many lines": ("a.json", flood(b"{\n", b'"a":"b",\n', 10 * MIB), 0),
    "carriage returns": ("a.txt", flood(AFTER.strip() + b"\r", b"\r", MIB), 1),
    "UTF-16": ("a.txt", flood(AFTER.decode().encode("utf-16"), b"a\0", 20 * MIB), 2),
    "many columns": ("a.csv", flood(b"doi", b",a", 500_000, AFTER), 1),
    "keys that differ": ("a.jsonl", keys, 50_001),
    "many JSON objects": ("a.jsonl", flood(b'{"doi":[{"a":1}', b',{"a":1}', 130_000), 1),
}


@pytest.mark.parametrize("flooded", FLOODS)
def test_a_flood_takes_no_more_memory_than_a_few_records(tmp_path: Path, flooded: str) -> None:
    name, content, expected = FLOODS[flooded]
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(content(), compresslevel=1))
    count, grown, _ = reading("worker.sources.records", str(path))
    assert count == expected
    assert grown < MOST_MIB


def with_dictionary(compressed: bytes, size: int) -> bytes:
    """An .xz whose block's header asks for another dictionary (The .xz File Format, 3.1, 5.3.1)."""
    header = bytearray(compressed[12 : 12 + (compressed[12] + 1) * 4])
    assert header[2:4] == b"\x21\x01", "LZMA2, with one byte of properties"
    header[4] = size
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return compressed[:12] + bytes(header) + compressed[12 + len(header) :]


def test_an_xz_may_not_ask_for_a_dictionary_of_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(with_dictionary(lzma.compress(b"\n" * 300 * MIB + AFTER), 40))
    count, grown, said = reading("worker.sources.records", str(path))
    assert count == 0
    assert grown < MOST_MIB
    assert said == (
        f"{path}: needs more than 100 MiB of memory to be decompressed; compress it again with "
        "`xz -9` or less\n"
    )


def test_what_xz_makes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    both = lzma.compress(AFTER, preset=9 | lzma.PRESET_EXTREME), lzma.compress(AFTER, preset=0)
    path.write_bytes(both[0] + b"\0" * 400_000 + both[1] + lzma.compress(b"") + b"\0" * 4)
    count, grown, said = reading("worker.sources.records", str(path))
    assert (count, said) == (2, "")
    assert grown < MOST_MIB


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_a_million_real_dois_take_no_more_than_a_few(tmp_path: Path) -> None:
    count, grown, said = reading("worker.sources.records", str(DATA / "dois_1m.txt.xz"))
    assert (count, said) == (1_000_000, "")
    assert grown < MOST_MIB
