"""Files that survive a crash, there in whole or not at all; and files that one process holds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import Busy


def write_text(path: Path, text: str) -> None:
    """Write a file under another name, bring it to the disk, and move it into place."""
    made = path.with_name(f".new-{path.name}")
    made.write_text(text, "utf-8")
    sync(made)
    made.replace(path)
    sync(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` for the context to write, which takes its place if that ends well."""
    made = path.with_name(f".new-{os.getpid()}-{path.name}")
    try:
        yield made
        sync(made)
        made.replace(path)
        sync(path.parent)
    finally:
        made.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file, or a directory's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock in this file, which ends with the process; raises `Busy` at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            whose = file.read().strip() or "another process"
            raise Busy(f"{whose} is at it: one {path.stem} at a time") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
