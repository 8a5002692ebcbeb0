"""The history: what ran, when, and what came of it; a line of JSON for each run that ended."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydantic import ValidationError

from schemas.history import Entry, Kind
from worker.files import sync

MADE_LIVE = ("switched", "promoted")
log = logging.getLogger(__name__)


class Reign(NamedTuple):
    """A version becomes live: when, and by what; None for the first, before the history begins."""

    version: str
    since: datetime | None = None
    by: Kind | None = None


class History:
    """The entries in a file: appended, never changed.

    A line that a crash tore is cut off by the next append; reading skips it. Any number of
    processes may append at once. What did not end has no entry: it goes on, and is one entry
    when it ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def below(cls, data_dir: Path) -> "History":
        """The history of a data directory."""
        return cls(data_dir / "trainer" / "history.jsonl")

    def append(self, entry: Entry) -> None:
        """Bring an entry to the disk, behind those that are there."""
        with self._opened() as file:
            _cut_torn_line(file)
            file.write(entry.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync(self._path.parent)

    def entries(self) -> list[Entry]:
        """All entries, in the order in which they were appended."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        return [entry for line in lines if (entry := _read(line))]

    def champions(self) -> list[str]:
        """The versions that were live and were not rolled back, in the order of becoming so."""
        found: dict[str, None] = {}
        for entry in self.entries():
            if entry.outcome in MADE_LIVE and entry.version:
                found |= dict.fromkeys(filter(None, (entry.previous, entry.version)))
                if entry.kind == "rollback" and entry.previous:
                    del found[entry.previous]
        return list(found)

    def reigns(self) -> list[Reign]:
        """The versions that were live, in order; a version that came back is there again."""
        found: list[Reign] = []
        for entry in self.entries():
            if entry.outcome in MADE_LIVE and entry.version:
                if not found and entry.previous:
                    found.append(Reign(entry.previous))
                if not found or found[-1].version != entry.version:  # a refine tells it again
                    found.append(Reign(entry.version, entry.ended_at, entry.kind))
        return found

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    content = file.read()
    file.truncate(content.rfind(b"\n") + 1)


def _read(line: bytes) -> Entry | None:
    try:
        return Entry.model_validate_json(line)
    except ValidationError:
        log.warning("a line of the history can't be read: %r", line[:80])
        return None
