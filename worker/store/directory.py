"""The directory of an Edge store: who has it, its collections and its aliases."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from worker.errors import StoreBusy, StoreUnavailable
from worker.files import sync, write_text

ALIASES, OWNERS = "aliases.json", "deployments.json"
TAKE_TIMEOUT_S = 3.0  # a process that was killed still holds its files for a moment
PAUSE_S = 0.02
BLOCK_BYTES = 512  # the unit of st_blocks


class Directory:
    """A directory of which this process is the only user; callers take turns to change it.

    Raises `StoreBusy` where another process has it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = _take(root)
        self._clear()

    def path(self, collection: str) -> Path:
        """Where a collection is, or would be; raises `StoreUnavailable` after `close`."""
        if self._lock.closed:
            raise StoreUnavailable("the store is closed")
        return self.root / "collections" / collection

    def require(self, needed_bytes: int) -> None:
        """Raise `StoreUnavailable` where less is free on the disk.

        The engine writes through memory maps of sparse files: on a full disk the kernel ends the
        process (SIGBUS) in the middle of a write.
        """
        free = shutil.disk_usage(self.root).free
        if free < needed_bytes:
            raise StoreUnavailable(
                f"the disk is full: {self.root} has {free / 2**20:,.0f} MiB left, and Qdrant Edge "
                f"needs {needed_bytes / 2**20:,.0f} MiB; make room there"
            )

    def bytes_of(self, collection: str) -> tuple[int, int]:
        """What a collection takes on the disk, and what its sparse files may take besides."""
        found = [path.stat() for path in self.path(collection).rglob("*") if path.is_file()]
        used = [status.st_blocks * BLOCK_BYTES for status in found]
        holes = [max(0, s.st_size - n) for s, n in zip(found, used, strict=True)]
        return sum(used), sum(holes)

    def names(self) -> list[str]:
        """The names of all collections."""
        with suppress(FileNotFoundError):
            return [path.name for path in self.path("").iterdir()]
        return []

    def scratch(self, collection: str) -> Path:
        """Where a collection can be made or taken apart; removes what a failure left of another."""
        self._clear()
        return self.root / f".{collection}"

    def add(self, made: Path, collection: str) -> None:
        """Move what was made in a scratch place to the collections: in whole, or not at all."""
        path = self.path(collection)
        path.parent.mkdir(exist_ok=True)
        made.rename(path)
        sync(path.parent)

    def remove(self, collection: str) -> None:
        """Remove a collection, in whole or not at all; one that isn't there is no error."""
        scratch = self.scratch(collection)
        with suppress(FileNotFoundError):
            self.path(collection).rename(scratch)
            sync(self.path(""))
        shutil.rmtree(scratch, ignore_errors=True)

    def aliases(self) -> dict[str, str]:
        """The collection of every alias."""
        return _read(self.root / ALIASES)

    def write_aliases(self, aliases: Mapping[str, str]) -> None:
        """Set all aliases at once; durable on return."""
        write_text(self.root / ALIASES, json.dumps(aliases))

    def owners(self) -> dict[str, str]:
        """The deployment of each collection that has one."""
        return _read(self.root / OWNERS)

    def write_owner(self, collection: str, deployment: str) -> None:
        """Say whose a collection is; durable on return. What names none any more is forgotten."""
        owners = {name: own for name, own in self.owners().items() if name in self.names()}
        write_text(self.root / OWNERS, json.dumps({**owners, collection: deployment}))

    def close(self) -> None:
        """Let go of the directory."""
        self._lock.close()

    def _clear(self) -> None:
        """Remove what a crash left half made or half removed."""
        for path in self.root.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def peek(root: Path, alias: str) -> tuple[str | None, str | None]:
    """The live collection behind `alias` and its deployment, whoever has the directory."""
    live = _read(root / ALIASES).get(alias)
    return live, _read(root / OWNERS).get(live) if live else None


def _read(path: Path) -> dict[str, str]:
    with suppress(FileNotFoundError):
        found: dict[str, str] = json.loads(path.read_text())
        return found
    return {}


def _take(root: Path) -> IO[str]:
    """The directory's lock file, held until it is closed; it says whose it is."""
    root.mkdir(parents=True, exist_ok=True)
    lock = (root / "lock").open("a+")
    deadline = time.monotonic() + TAKE_TIMEOUT_S
    while not _flocked(lock):
        if time.monotonic() > deadline:
            with lock:
                lock.seek(0)
                pid = lock.read().strip() or "unknown"
            raise StoreBusy(
                f"{root} is in use by process {pid}; wait until it ends, "
                "or set DOIVEC_QDRANT__URL to share a Qdrant server"
            )
        time.sleep(PAUSE_S)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _flocked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
