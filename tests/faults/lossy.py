"""A disk that can lose what was not synced, as a machine does whose power goes."""

import fcntl
import os
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.servers import Server

IMAGE_BYTES = 2**31  # sparse
# _IOR('X', 125, __u32) of ext4 and xfs, which xfstests uses: from then on nothing reaches the disk,
# the journal is left as it is, and what was not written yet is dropped.
SHUTDOWN, NO_FLUSH = 0x8004587D, 2


class NoSuchDisk(Exception):
    """Nothing may be mounted here."""


class LossyDisk:
    """An ext4 file system in a file, mounted at `path`."""

    def __init__(self, path: Path, *, image: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        """Mount it, as its journal says it was; raises `NoSuchDisk`."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Unmount it; nothing may have a file of it open."""
        _run("umount", str(self.path))

    def cut(self) -> None:
        """Let nothing more reach it: what was not synced is lost."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(folder)


@contextmanager
def lossy_disk(path: Path) -> Iterator[LossyDisk]:
    """A new, empty one at `path`; raises `NoSuchDisk` where nothing may be mounted."""
    image = path.with_suffix(".ext4")
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", str(image))
    disk = LossyDisk(path, image=image)
    disk.mount()
    try:
        yield disk
    finally:
        with suppress(NoSuchDisk):
            disk.unmount()
        image.unlink()


def lose_power(machines: Sequence[tuple[Server, LossyDisk]]) -> None:
    """End servers and cut their disks, all at one moment; then start them on what is left."""
    for server, _ in machines:
        os.kill(server.pid, signal.SIGSTOP)  # from now on nothing is acknowledged
    for _, disk in machines:
        disk.cut()
    for server, disk in machines:
        server.kill()
        disk.unmount()
        disk.mount()
        server.start()


def _run(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise NoSuchDisk(f"{words[0]}: {getattr(error, 'stderr', '') or error}".strip()) from error
