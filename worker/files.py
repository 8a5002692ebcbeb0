"""Files that survive a crash: there in whole or not at all."""

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file under another name, bring it to the disk, and move it into place."""
    made = path.with_name(f".new-{path.name}")
    made.write_text(text, "utf-8")
    sync(made)
    made.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file, or a directory's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
