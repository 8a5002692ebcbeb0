"""Content-addressed Parquet shards: append-only, whole or not there, checked when they are read."""

import fcntl
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.errors import PairsError
from worker.files import sync

NAME = re.compile(r"[0-9a-f]{64}\.parquet")
FACTS = b"doivec"
NEW, ASIDE = ".new", "dropped"
ROWS_A_PIECE = 65_536  # as objects at once


class Facts(NamedTuple):
    """What a shard says of its import: `number` is its place, `files` are names without folders.

    `after` is what its rows were hashed with (see `ShardFolder.write`).
    """

    id: str
    number: int
    rows: int
    files: tuple[str, ...]
    created_at: datetime
    after: str = ""


class ShardFolder:
    """The shards in a directory, each a Parquet file of the columns of `schema`."""

    def __init__(self, path: Path, *, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for writing; another process that wants to waits."""
        with locked(self._path):
            yield

    def facts(self, *, with_aside: bool = False) -> list[Facts]:
        """The facts of all shards, in the order of their import; raises `PairsError`.

        `with_aside`, of those too that were set aside.
        """
        folders = (self._path / ASIDE, self._path) if with_aside else (self._path,)
        paths = {path.name: path for folder in folders for path in folder.glob("*.parquet")}
        found = [_facts(path) for name, path in paths.items() if NAME.fullmatch(name)]
        return sorted(found, key=lambda facts: (facts.number, facts.created_at, facts.id))

    def set_aside(self, facts: Facts) -> None:
        """Let a shard count no more, but be read where it is asked for; `locked` must be held.

        Raises `PairsError`.
        """
        try:
            (self._path / ASIDE).mkdir(exist_ok=True)
            self._at(facts).replace(self._path / ASIDE / f"{facts.id}.parquet")
            sync(self._path / ASIDE)
            sync(self._path)
        except OSError as error:
            raise PairsError(f"the shard can't be set aside: {error}") from error

    def write(self, rows: Sequence[Sequence[Any]], *, files: Sequence[str], after: str = "") -> str:
        """Keep `rows` as one shard, durably, and return its id; `locked` must be held.

        The id is the SHA-256 (hexadecimal) of the rows. Where the same rows may come a second
        time and mean something then, `after` is hashed before them. Raises `PairsError`.
        """
        facts = Facts(
            id=digest(rows, after=after),
            number=max((known.number for known in self.facts()), default=0) + 1,
            rows=len(rows),
            files=tuple(Path(file).name for file in files),
            created_at=datetime.now(UTC),
            after=after,
        )
        try:
            self._place(rows, facts)
        except OSError as error:
            raise PairsError(f"the shard can't be kept in {self._path}: {error}") from error
        return facts.id

    def read(self, facts: Facts) -> Iterator[tuple[Any, ...]]:
        """The rows of a shard, looked at as they pass.

        Raises `PairsError` behind the last one where they are not those of its id: who takes some
        relies on none before all have come.
        """
        return chain.from_iterable(rows for _, rows in self._checked(facts))

    def pieces(self, facts: Facts) -> Iterator[pa.RecordBatch]:
        """The rows of a shard as columns, a piece after the other; raises as `read` does."""
        return (piece for piece, _ in self._checked(facts))

    def _checked(self, facts: Facts) -> Iterator[tuple[pa.RecordBatch, list[tuple[Any, ...]]]]:
        path, found = self._at(facts), Digest(facts.after)
        with _opened(path, schema=self._schema) as file:
            for piece in _pieces(file):
                rows = list(rows_of([piece]))
                found.add(rows)
                yield piece, rows
            if found.hex != facts.id or file.metadata.num_rows != facts.rows:
                raise PairsError(f"the shard {path} was changed: it isn't what its name says")

    def _at(self, facts: Facts) -> Path:
        path = self._path / f"{facts.id}.parquet"
        return path if path.exists() else self._path / ASIDE / path.name

    def _place(self, rows: Sequence[Sequence[Any]], facts: Facts) -> None:
        note = json.dumps({**facts._asdict(), "created_at": facts.created_at.isoformat()})
        made = (
            self._path / NEW
        )  # an import that was killed may have left it; the lock makes it ours
        write_rows(made, rows, schema=self._schema.with_metadata({FACTS: note}))
        made.replace(self._path / f"{facts.id}.parquet")
        sync(self._path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder`, and hold its lock, which ends with the process; others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise PairsError(f"{folder} can't be written: {error}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def version(ids: Iterable[str]) -> str:
    """The SHA-256 (hexadecimal) of a set of shards: of their ids, sorted."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


class Digest:
    """The SHA-256 of a text and of rows in their order, each as a JSON array."""

    def __init__(self, after: str = "") -> None:
        self._found = hashlib.sha256(after.encode())
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take rows in, behind those before."""
        for row in rows:
            self._found.update(self._encode(row).encode() + b"\n")

    @property
    def hex(self) -> str:
        """The digest so far, hexadecimal."""
        return self._found.hexdigest()


def digest(rows: Iterable[Sequence[Any]], *, after: str = "") -> str:
    """The SHA-256 (hexadecimal) of `after` and the rows in their order (see `Digest`)."""
    found = Digest(after)
    found.add(rows)
    return found.hex


def write_rows(path: Path, rows: Sequence[Sequence[Any]], *, schema: pa.Schema) -> None:
    """Write rows as a Parquet file with the columns of `schema`, and bring it to the disk."""
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows), ROWS_A_PIECE):
            columns = zip(*rows[start : start + ROWS_A_PIECE], strict=True)
            arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    sync(path)


def read_rows(path: Path, *, schema: pa.Schema) -> list[tuple[Any, ...]]:
    """The rows of a Parquet file; raises `PairsError`."""
    with _opened(path, schema=schema) as file:
        return list(rows_of(_pieces(file)))


@contextmanager
def _opened(path: Path, *, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise PairsError(f"{path} was changed: it has other columns")
            yield file
    except (pa.ArrowException, OSError) as error:
        raise PairsError(f"{path} can't be read: {_first_line(error)}") from error
    except UnicodeDecodeError as error:  # its texts are not looked at before
        raise PairsError(f"{path} was changed: {error}") from error


def _pieces(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    yield from file.iter_batches(batch_size=ROWS_A_PIECE)


def rows_of(pieces: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    """The rows as Python's values; equal texts of a piece as one object."""
    for piece in pieces:
        yield from zip(*map(_values, piece.columns), strict=True)


def _values(column: pa.Array) -> list[Any]:
    encoded = column.dictionary_encode()
    words = [*encoded.dictionary.to_pylist(), None]
    return [words[place] for place in encoded.indices.fill_null(len(words) - 1).to_pylist()]


def _facts(path: Path) -> Facts:
    try:
        note = json.loads((pq.read_schema(path).metadata or {})[FACTS])
        note["created_at"] = datetime.fromisoformat(note["created_at"])
        facts = Facts(**{**note, "files": tuple(note["files"])})
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise PairsError(f"{path} is no shard: {_first_line(error)}") from error
    if facts.id != path.stem:
        raise PairsError(f"the shard {path} was renamed: it is {facts.id}")
    return facts


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]
