"""What a process may be made to lack for a while, and have again."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.disk import Disk

MIB = 2**20
LARGE_MIB = 4096  # of a disk that isn't full; a tmpfs takes what is on it
SPARE_FILES = 3


@contextmanager
def limited(pid: int, limit: int, value: int) -> Iterator[None]:
    """Let a process have no more than so much of something; a process that ends is no error."""
    try:
        _, hard = resource.prlimit(pid, limit)
        resource.prlimit(pid, limit, (value, hard))
    except ProcessLookupError:
        yield
        return
    yield
    with suppress(ProcessLookupError):
        resource.prlimit(pid, limit, (hard, hard))


@contextmanager
def few_files(pid: int, chosen: random.Random) -> Iterator[None]:
    """Let a process open hardly any more files and connections than it has."""
    count = 0
    with suppress(FileNotFoundError):
        count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    with limited(pid, resource.RLIMIT_NOFILE, count + chosen.randrange(SPARE_FILES)):
        yield


@contextmanager
def little_memory(pid: int, chosen: random.Random) -> Iterator[None]:
    """Let a process have hardly any more memory than it has, or less."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + chosen.randrange(-64, 8) * MIB
    with limited(pid, resource.RLIMIT_AS, size):
        yield


@contextmanager
def full(disk: Disk, *, leaving_kib: int) -> Iterator[None]:
    """Let a disk have no more room than that."""
    disk.fill_up(leaving_kib=leaving_kib)
    try:
        yield
    finally:
        disk.resize(LARGE_MIB)
