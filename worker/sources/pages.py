"""How large the pages of a Parquet file are, by what the file itself says, before they are read.

Arrow makes room for a page by its header: 2 GiB of it in a file of a few KB. It gives away no page
headers, and what it does give of a damaged file's columns ends the process. So footer and headers
are decoded here: they are structs in Thrift's compact protocol, laid out in parquet.thrift.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from worker.errors import SourceError

INT32, INT64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12
BOOLEANS, BYTE, INTEGERS, DOUBLE, SET = {1: True, 2: False}, 3, {4, INT32, INT64}, 7, 10
DEEPEST = 16
LONG_LIST = 15  # or more: the length follows
MAGIC_BYTES, LENGTH_BYTES = 4, 4
# Fields, by their numbers and kinds in parquet.thrift.
ROW_GROUPS, COLUMNS, META_DATA, PATH = (4, LIST), (1, LIST), (3, STRUCT), (3, LIST)
ROWS = (3, INT64)
LENGTH, DATA_OFFSET, DICTIONARY_OFFSET = (7, INT64), (9, INT64), (11, INT64)
UNCOMPRESSED, COMPRESSED = (2, INT32), (3, INT32)
DATA_HEADERS, DICTIONARY_HEADER, VALUES = ((5, STRUCT), (8, STRUCT)), (7, STRUCT), (1, INT32)

Struct = dict[tuple[int, int], Any]


class Page(NamedTuple):
    """A page: its column, its uncompressed size, and how many values, or else words, it holds."""

    column: str
    size: int
    values: int
    is_dictionary: bool


def pages(path: Path, *, columns: set[str]) -> list[list[Page]]:
    """The pages of some columns, row group by row group; none of a group without rows.

    Raises `SourceError` where the file is damaged; OSError.
    """
    with path.open("rb") as file:
        try:
            found = _footer(file)[ROW_GROUPS]
            groups = [group[COLUMNS] if group[ROWS] else [] for group in found]
            return [
                [page for chunk in group for page in _chunk(file, chunk[META_DATA], columns)]
                for group in groups
            ]
        except (KeyError, TypeError) as error:
            raise SourceError("damaged: its columns are not described as they must be") from error


def _footer(file: BinaryIO) -> Struct:
    end = file.seek(-LENGTH_BYTES - MAGIC_BYTES, 2)
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    file.seek(max(0, end - length))
    return _struct(file, depth=0)


def _chunk(file: BinaryIO, meta: Struct, columns: set[str]) -> Iterator[Page]:
    """A column's pages in one row group, from where Arrow begins to where it ends."""
    name = b".".join(meta[PATH]).decode(errors="replace")
    if name not in columns:
        return
    begin = meta[DATA_OFFSET]
    if 0 < meta.get(DICTIONARY_OFFSET, 0) < begin:
        begin = meta[DICTIONARY_OFFSET]
    file.seek(max(0, begin))
    while file.tell() < begin + meta[LENGTH]:
        header = _struct(file, depth=0)
        size, compressed = header[UNCOMPRESSED], header[COMPRESSED]
        if min(size, compressed) < 0:
            raise SourceError("damaged: a page of less than no bytes")
        is_dictionary = DICTIONARY_HEADER in header
        heads = (DICTIONARY_HEADER,) if is_dictionary else DATA_HEADERS
        values = max((header[head][VALUES] for head in heads if head in header), default=0)
        yield Page(name, size, values, is_dictionary)
        file.seek(compressed, 1)


def _struct(file: BinaryIO, *, depth: int) -> Struct:
    found, number = {}, 0
    while head := _bytes(file, 1)[0]:
        delta, kind = head >> 4, head & 15
        number = number + delta if delta else _integer(file)
        found[number, kind] = (
            BOOLEANS[kind] if kind in BOOLEANS else _value(file, kind, depth=depth)
        )
    return found


def _value(file: BinaryIO, kind: int, *, depth: int) -> Any:
    if kind in INTEGERS:
        return _integer(file)
    if kind == BINARY:
        return _bytes(file, _varint(file))
    if kind in {BYTE, DOUBLE, *BOOLEANS}:
        return _bytes(file, 8 if kind == DOUBLE else 1)
    if depth == DEEPEST or kind not in {LIST, SET, STRUCT}:
        raise SourceError("damaged: what describes its pages can't be read")
    if kind == STRUCT:
        return _struct(file, depth=depth + 1)
    head = _bytes(file, 1)[0]
    count = head >> 4 if head >> 4 < LONG_LIST else _varint(file)
    return [_value(file, head & 15, depth=depth + 1) for _ in range(count)]


def _integer(file: BinaryIO) -> int:
    zigzag = _varint(file)
    return (zigzag >> 1) ^ -(zigzag & 1)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = _bytes(file, 1)[0]
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value
    raise SourceError("damaged: a number without an end")


def _bytes(file: BinaryIO, count: int) -> bytes:
    found = file.read(count) if count < 2**31 else b""
    if len(found) < count:
        raise SourceError("damaged: it ends too early")
    return found
