"""Who has a data directory: one process at a time works in it."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from worker.errors import StoreBusy

BRIEF_TIMEOUT_S = 30.0
SAY_S = 2.0
WORKERS = {"ingest", "run"}
BRIEF = {"delete"}  # ends soon: it is waited for
WORKING = BRIEF | {"ingest", "run", "promote", "rollback", "prune", "refine", "migrate"}
log = logging.getLogger(__name__)


class Owner(NamedTuple):
    """The process that works in a data directory."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} (doi-worker {self.command})"


@contextmanager
def ownership(folder: Path, command: str) -> Iterator[Owner | None]:
    """The other process that works in this data directory; without one, this one does.

    `folder` is the private Redis's. A command that only queues or asks takes nothing: it may do
    so beside a worker, and a worker beside it. Raises `StoreBusy`.
    """
    if command not in WORKING:
        yield owner_of(folder)
        return
    with (folder / "owner.lock").open("a+") as lock:
        owner = _take(folder, lock, command=command)
        yield owner
        if owner is None:
            lock.truncate(0)


def owner_of(folder: Path) -> Owner | None:
    """The process that works in this data directory now."""
    with _door(folder), (folder / "owner.lock").open("a+") as lock:
        return None if _flocked(lock, fcntl.LOCK_SH) else _signature(lock)


def has_worker(folder: Path) -> bool:
    """Whether a process works batches off in this data directory now."""
    owner = owner_of(folder)
    return owner is not None and owner.command in WORKERS


def refuse_other_owner(owner: Owner | None) -> None:
    """Raise `StoreBusy` where the data directory is in use by a command that will end."""
    if owner and owner.command != "run":
        raise StoreBusy(
            f"the data directory is in use by {owner}; "
            "wait for it, or keep a `doi-worker run` and queue to it"
        )


def refuse_any_owner(owner: Owner | None) -> None:
    """Raise `StoreBusy` where the data directory is in use."""
    if owner:
        raise StoreBusy(f"the data directory is in use by {owner}; wait for it, or end it")


def _take(folder: Path, lock: IO[str], *, command: str) -> Owner | None:
    began = told = time.monotonic()
    while owner := _try(folder, lock, command=command):
        now = time.monotonic()
        if owner.command not in BRIEF or now - began > BRIEF_TIMEOUT_S:
            return owner
        if now - told > SAY_S:
            told = now
            log.warning("waiting until %s ends", owner)
        time.sleep(0.02)
    return None


def _try(folder: Path, lock: IO[str], *, command: str) -> Owner | None:
    with _door(folder):
        if not _flocked(lock, fcntl.LOCK_EX):
            return _signature(lock)
        lock.truncate(0)
        lock.write(json.dumps(Owner(os.getpid(), command)._asdict()))
        lock.flush()
        return None


@contextmanager
def _door(folder: Path) -> Iterator[None]:
    # Who only looks holds the lock for a moment; nobody must take that for an owner.
    with (folder / "door.lock").open("a") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield


def _flocked(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signature(lock: IO[str]) -> Owner:
    lock.seek(0)
    with suppress(ValueError, TypeError):
        return Owner(**json.loads(lock.read()))
    return Owner(0, "unknown")  # another version's
