"""The processes that go by a data directory."""

import os
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process of this machine, and its command line."""

    pid: int
    words: list[str]


def processes_of(data: Path) -> list[Process]:
    """All that have a data directory in their environment or work in it; not this process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_told = bytes(data) + b"\0" in (folder / "environ").read_bytes()
            is_there = (folder / "cwd").readlink().is_relative_to(data)
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if (is_told or is_there) and int(folder.name) != os.getpid():
            found.append(Process(int(folder.name), words))
    return found
