"""Files that survive a crash: there in whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
