"""Records into files: JSON lines, or Parquet."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.contents import VECTOR
from worker.files import replacing

Record = Mapping[str, Any]
Pages = Iterable[list[dict[str, Any]]]
TEXTS = (
    *("doi", "registrant", "title", "abstract", "venue", "text_from", "content_hash", "revision"),
    *("job", "accepted_at"),
)
NUMBERS = ("year", "sequence", "schema_version")
INT64 = 2**63
# What JSON has more shapes of than a column: where each field came from; all that has no column.
FIELDS, OTHER = "fields", "other"
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in TEXTS),
        *(pa.field(name, pa.int64()) for name in NUMBERS),
        *(pa.field(name, pa.string()) for name in (FIELDS, OTHER)),
    ]
)
GROUP_RECORDS = 10_000
GROUP_BYTES = 64 * 2**20


def write(pages: Pages, path: Path, *, form: str, vectors: bool) -> int:
    """Write records to a file, `form` is `jsonl` or `parquet`; returns how many there were.

    The file is there in whole or, where this is cut off, as it was before.
    """
    with replacing(path) as made:
        if form == "parquet":
            return _write_parquet(pages, made, vectors=vectors)
        with made.open("w", encoding="utf-8") as file:
            return _counted(pages, lambda record: file.write(f"{line(record)}\n"))


def line(record: Record) -> str:
    """A record as a line of JSON, which `doi-worker ingest` reads."""
    vector = {VECTOR: record[VECTOR].tolist()} if VECTOR in record else {}
    return json.dumps({**record, **vector}, ensure_ascii=False)


def _counted(pages: Pages, write_one: Callable[[Record], object]) -> int:
    count = 0
    for page in pages:
        for record in page:
            write_one(record)
        count += len(page)
    return count


def _write_parquet(pages: Pages, path: Path, *, vectors: bool) -> int:
    schema = SCHEMA.append(pa.field(VECTOR, pa.list_(pa.float32()))) if vectors else SCHEMA
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for group in _groups(pages, schema):
            file.write_table(group)
            count += group.num_rows
    return count


def _groups(pages: Pages, schema: pa.Schema) -> Iterator[pa.Table]:
    """The records as tables that are neither tiny nor more than memory should hold."""
    held: list[pa.Table] = []
    for page in pages:
        held.append(pa.Table.from_pylist([_row(record) for record in page], schema))
        is_long = sum(table.num_rows for table in held) >= GROUP_RECORDS
        if is_long or sum(table.nbytes for table in held) >= GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _row(record: Record) -> dict[str, Any]:
    """A record by columns; what another program wrote in a shape of its own goes to `other`."""
    row = {name: value for name, value in record.items() if _has_column(name, value)}
    other = {name: record[name] for name in record.keys() - row.keys() - {FIELDS}}
    if FIELDS in record:
        row[FIELDS] = json.dumps(record[FIELDS], ensure_ascii=False)
    if other:
        row[OTHER] = json.dumps(other, ensure_ascii=False)
    return row


def _has_column(name: str, value: Any) -> bool:
    if name in NUMBERS:
        return isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64
    return name == VECTOR or (name in TEXTS and isinstance(value, str))
