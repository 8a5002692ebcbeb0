"""Records on their way into the index: sorted runs on disk, merged into it in the order of keys.

To insert ten million records as they come, each somewhere among all, took five times as long as in
the order of their keys, and left pages a third empty. So readers write runs, a file each, whose
name is its end of being written; all are merged at last, a part of the keys after the other, in
the memory that a part takes. To merge a run twice changes nothing: a kill at any moment costs time.
"""

import json
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from worker.files import sync
from worker.metadata.database import writing
from worker.metadata.entries import File
from worker.metadata.index import SOURCE_BITS

KEY_BITS = 60 + SOURCE_BITS
PART_BITS = 10  # 1,024 parts: of 180 million records 50 MB each
PARTS = 1 << PART_BITS
SHIFT = KEY_BITS - PART_BITS
RUN_BYTES = 64 * 2**20  # of bodies in memory before a run is written
COMMIT_RECORDS = 50_000
HEAD = struct.Struct("<QQI")  # key, dated, bytes of the body
FOOTER = struct.Struct("<QQ8s")  # where the parts' places and the files stand
MAGIC = b"doivrun1"
SUFFIX = ".run"
MERGE = """
INSERT INTO records (key, dated, kept, until, body) VALUES (?, ?, ?, NULL, ?)
ON CONFLICT (key) DO UPDATE SET dated = excluded.dated, kept = excluded.kept, until = NULL,
body = excluded.body WHERE excluded.dated >= records.dated
"""
Row = tuple[int, int, bytes]  # key, dated, body


class Run(NamedTuple):
    """A run on disk: where each part begins in it, and the files that it completes."""

    path: Path
    places: Sequence[int]
    files: tuple[File, ...]


class RunWriter:
    """Gathers records, and writes them as runs to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[Row] = []
        self._bytes = 0

    def add(self, key: int, dated: int, body: bytes) -> None:
        """Take a record."""
        self._rows.append((key, dated, body))
        self._bytes += len(body) + HEAD.size
        if self._bytes >= RUN_BYTES:
            self.write([])

    def write(self, files: Iterable[File]) -> None:
        """Write what was gathered; with it, all of these files is on disk."""
        self._rows.sort(key=lambda row: row[0])
        made = self._folder / f"{uuid4().hex}.new"
        with made.open("wb") as run:
            places = array("Q", [0])
            rows = iter(self._rows)
            row = next(rows, None)
            for part in range(PARTS):
                while row and row[0] >> SHIFT == part:
                    key, dated, body = row
                    run.write(HEAD.pack(key, dated, len(body)))
                    run.write(body)
                    row = next(rows, None)
                places.append(run.tell())
            run.write(places.tobytes())
            held = json.dumps([list(file) for file in files]).encode()
            run.write(held)
            run.write(FOOTER.pack(places[-1], len(held), MAGIC))
        sync(made)
        made.replace(made.with_suffix(SUFFIX))
        sync(self._folder)
        self._rows, self._bytes = [], 0


def runs(folder: Path) -> list[Run]:
    """The runs of a folder that are whole; a damaged one says nothing of its files."""
    found = (_run(path) for path in sorted(folder.glob(f"*{SUFFIX}")))
    return [run for run in found if run]


def merge(
    found: Sequence[Run], index: Path, *, now: float, at_once: int = COMMIT_RECORDS
) -> Iterator[int]:
    """Merge runs into the index, and remove them; yields how many records each step took.

    A step is a transaction, of `at_once` records or more.

    Raises `IndexUnavailable`, `IndexRejected`.
    """
    held: list[Row] = []
    for part in range(PARTS):
        for run in found:
            held += _rows(run, part)
        if len(held) >= at_once or part == PARTS - 1:
            _commit(held, index, kept=int(now))
            yield len(held)
            held = []
    files = [file for run in found for file in run.files]
    with writing(index) as db:
        db.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", files)
    for run in found:
        run.path.unlink()


def _commit(rows: list[Row], index: Path, *, kept: int) -> None:
    # Of several records with one key the last to be written stands: the newest.
    rows.sort(key=lambda row: row[:2])
    with writing(index) as db:
        db.executemany(MERGE, ((key, dated, kept, body) for key, dated, body in rows))


def _run(path: Path) -> Run | None:
    """A run, by what stands at its end; None where that is not there: a disk lost it."""
    with suppress(ValueError, struct.error, OSError, TypeError), path.open("rb") as file:
        file.seek(-FOOTER.size, os.SEEK_END)
        end = file.tell()
        at, length, magic = FOOTER.unpack(file.read())
        places = array("Q")
        file.seek(at)
        places.frombytes(file.read(end - length - at))
        files = tuple(File(*facts) for facts in json.loads(file.read(length)))
        if magic == MAGIC and len(places) == PARTS + 1:
            return Run(path, places, files)
    return None


def _rows(run: Run, part: int) -> Iterator[Row]:
    begin, end = run.places[part : part + 2]
    if begin == end:
        return
    with run.path.open("rb") as file:
        file.seek(begin)
        held = file.read(end - begin)
    at = 0
    while at < len(held):
        key, dated, length = HEAD.unpack_from(held, at)
        at += HEAD.size + length
        yield key, dated, held[at - length : at]
