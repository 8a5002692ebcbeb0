"""Parquet files of other people, read in bounded memory, whatever they hold."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.data.pages import sizes
from worker.errors import SourceError

BATCH_ROWS = 1024
PAGE_BYTES = 32 * 2**20  # writers end a page at 1 MiB, or where a row group ends
READ_BYTES = 64 * 2**20
BUFFER_BYTES = 2**20
Kinds = tuple[Callable[[pa.DataType], bool], ...]
TEXTS: Kinds = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary),
)
NUMBERS: Kinds = (
    *(pa.types.is_integer, pa.types.is_floating),
    *(pa.types.is_boolean, pa.types.is_null),
)


def rows(
    path: Path, wanted: Callable[[Sequence[str]], Sequence[str]]
) -> Iterator[dict[str, int | float | bytes | None]]:
    """The rows of a file, in order: the values of the columns that `wanted` names; texts as bytes.

    `wanted` is given the names of all columns. Raises `SourceError` for a column that holds neither
    texts nor numbers, and for a page of more than 32 MiB; `pa.ArrowException`, OSError.
    """
    with pq.ParquetFile(path) as file:
        names = wanted(file.schema_arrow.names)
        for name in names:
            _check_type(name, file.schema_arrow.field(name).type)
    # As dictionaries: a long text that stands in many rows is one text.
    with pq.ParquetFile(path, read_dictionary=names, buffer_size=BUFFER_BYTES) as file:
        for group, pages in enumerate(sizes(path, columns=set(names))):
            count = _rows_at_once(pages, columns=len(names))
            for batch in file.iter_batches(count, row_groups=[group], columns=names):
                table = zip(*map(_values, batch.columns), strict=True)
                yield from (dict(zip(names, row, strict=True)) for row in table)


def _check_type(name: str, kind: pa.DataType) -> None:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(holds(plain) for holds in TEXTS + NUMBERS):
        raise SourceError(f"the column `{name}` holds {kind}, neither texts nor numbers")


def _values(column: pa.Array) -> list[Any]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = encoded.dictionary
    if any(holds(words.type) for holds in TEXTS):
        words = words.cast(pa.large_binary())  # whether it is UTF-8, each row's reader says
    places = pa.DictionaryArray.from_arrays(encoded.indices, words).indices  # checked: in range
    found = [*words.to_pylist(), None]
    return [found[place] for place in places.fill_null(len(found) - 1).to_pylist()]


def _rows_at_once(pages: Sequence[int], *, columns: int) -> int:
    """How many rows of a group may be read together: each may be on pages of its own."""
    largest = max(pages, default=0)
    if largest > PAGE_BYTES:
        raise SourceError(
            f"a page of {largest:,} bytes in one of its columns; {PAGE_BYTES:,} are allowed"
        )
    return BATCH_ROWS if sum(pages) <= READ_BYTES else max(1, READ_BYTES // largest // columns)
