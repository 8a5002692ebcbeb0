"""A small disk: a tmpfs, which only root may mount."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A mounted file system of a size that can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, mib: int) -> None:
        """Make it larger or smaller, with all that is on it."""
        _mount("-o", f"remount,size={mib}m", str(self.path))

    def fill_up(self, *, leaving_kib: int) -> None:
        """Make it so small that there is no more room than that."""
        used_kib = -(-shutil.disk_usage(self.path).used // 2**10)
        _mount("-o", f"remount,size={used_kib + leaving_kib}k", str(self.path))

    def freeze(self) -> None:
        """Let nothing be written to it."""
        _mount("-o", "remount,ro", str(self.path))

    def fill(self, *, leaving_mib: int) -> None:
        """Write a file that leaves so much."""
        size = shutil.disk_usage(self.path).free - leaving_mib * 2**20
        with (self.path / "filling").open("wb") as file:
            for _ in range(size // 2**20):
                file.write(bytes(2**20))


@contextmanager
def small_disk(path: Path, *, mib: int) -> Iterator[Disk]:
    """A disk of so many MiB at `path`; skips the test where nothing may be mounted."""
    path.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path))
    if done.returncode:
        pytest.skip(f"a small disk needs root: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
