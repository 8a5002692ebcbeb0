"""Parquet files of other people, read in bounded memory, whatever they hold."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from worker.errors import SourceError
from worker.sources.columns import Columns, folded
from worker.sources.pages import Page, pages

BATCH_ROWS = 1024
PAGE_BYTES = 32 * 2**20  # writers end a page at 1 MiB, or where a row group ends
READ_BYTES = 64 * 2**20
BUFFER_BYTES = 2**20
NUMBER_BYTES = 8
Value = int | float | bytes | None
Kinds = tuple[Callable[[pa.DataType], bool], ...]
TEXTS: Kinds = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary),
)
NUMBERS: Kinds = (
    *(pa.types.is_integer, pa.types.is_floating),
    *(pa.types.is_boolean, pa.types.is_null),
)
DATES: Kinds = (pa.types.is_date, pa.types.is_timestamp)


def rows(
    path: Path,
    *,
    columns: Columns,
    limit: int,  # noqa: ARG001 - each row's reader holds it
) -> Iterator[tuple[int, dict[str, Value]]]:
    """The rows of a file, by their numbers: the values of the columns that are wanted, by name.

    Texts, and dates as texts, are given as bytes: whether they are UTF-8, each row's reader says. A
    column of another kind is not used; `SourceError` is raised where it has our own name for a
    field, for a file that is damaged, or has not the columns that it must have, and for a page of
    more than 32 MiB.
    """
    try:
        yield from enumerate(_rows(path, columns), start=1)
    except UnicodeDecodeError as error:
        raise SourceError("damaged: a column's name is not UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise SourceError(reason) from error


def _rows(path: Path, columns: Columns) -> Iterator[dict[str, Value]]:
    with pq.ParquetFile(path) as file:
        header = [_named(field, columns.fields) for field in file.schema_arrow]
        names = sorted({header[n] for places in columns.places(header).values() for n in places})
        for name in names:
            if header.count(name) > 1:
                raise SourceError(f"more than one column `{' '.join(name.split())}`")
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
        for group, found in enumerate(pages(path, columns=set(names))):
            if not file.metadata.row_group(group).num_rows:
                continue  # its columns may begin nowhere
            count = _rows_at_once(path, file, group, found)
            for batch in file.iter_batches(count, row_groups=[group], columns=names):
                table = zip(*map(_values, batch.columns), strict=True)
                yield from (dict(zip(names, row, strict=True)) for row in table)


def _named(field: pa.Field, ours: set[str]) -> str:
    """The name of a column; of one that can't be read, with its kind, so that it is not used."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if _holds(kind, TEXTS + NUMBERS + DATES):
        return str(field.name)
    if folded(field.name) in ours:
        name, kind = " ".join(field.name.split()), " ".join(str(field.type).split())
        raise SourceError(f"the column `{name}` holds {kind}, no texts and no numbers")
    return f"{field.name} ({field.type})"


def _holds(kind: pa.DataType, kinds: Kinds) -> bool:
    return any(is_one(kind) for is_one in kinds)


def _values(column: pa.Array) -> list[Any]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    used = encoded.indices.unique().drop_null()
    words = encoded.dictionary
    if pa.types.is_timestamp(words.type):
        words = words.cast(pa.timestamp(words.type.unit))  # whatever its zone's name is
    if _holds(words.type, DATES):
        words = words.cast(pa.string())
    if _holds(words.type, TEXTS):
        words = words.cast(pa.binary())  # whether it is UTF-8, each row's reader says
    taken = words.take(used)  # it checks that damage has left them in range
    found = dict(zip(used.to_pylist(), taken.to_pylist(), strict=True))
    return [found.get(place) for place in encoded.indices.to_pylist()]


def _rows_at_once(path: Path, file: pq.ParquetFile, group: int, found: Sequence[Page]) -> int:
    """How many rows of a group may be read together.

    Those of a column lie on two pages and on what is between, where all rows are among them; and
    each may repeat the longest word of the column's dictionary.
    """
    largest = max((page.size for page in found), default=0)
    if largest > PAGE_BYTES:
        raise SourceError(
            f"a page of {largest:,} bytes in one of its columns; {PAGE_BYTES:,} are allowed"
        )
    names = {page.column for page in found}
    for name in names:
        # Arrow keeps all categories of a row group, on whatever pages they are.
        size = sum(page.size for page in found if page.column == name)
        if pa.types.is_dictionary(file.schema_arrow.field(name).type) and size > READ_BYTES:
            raise SourceError(f"{size:,} bytes of categories; {READ_BYTES:,} are allowed")
    a_row = max([1, *(_bytes_a_row(path, group, page) for page in found)])
    left = READ_BYTES // max(1, len(names)) - 2 * largest
    return max(1, min(BATCH_ROWS, left // a_row))


def _bytes_a_row(path: Path, group: int, page: Page) -> int:
    if page.is_dictionary:
        return _longest_word(path, group, page)
    return page.size // (page.values or 1)


def _longest_word(path: Path, group: int, page: Page) -> int:
    """The bytes of the longest word on a dictionary page; the page's own if not all were seen."""
    with pq.ParquetFile(path, read_dictionary=[page.column]) as file:
        batch = next(file.iter_batches(1, row_groups=[group], columns=[page.column]), None)
    if batch is None or not pa.types.is_dictionary(batch.column(0).type):
        return page.size if batch is None else NUMBER_BYTES
    words = batch.column(0).dictionary
    if len(words) < page.values:
        return page.size
    lengths = pc.binary_length(words.cast(pa.binary()))
    return int(pc.max(lengths).as_py() or 0)
