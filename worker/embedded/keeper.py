"""Keeps the private Redis of a data directory running, for as long as anybody uses it.

A process of its own, `python -m worker.embedded.keeper FOLDER SERVER`: it outlives the command
that started it where others use the server, starts the server again when it is killed, and ends
it when the last user is gone, however that one ended. Who uses it holds a shared lock.
"""

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_letters, digits
from typing import IO, NoReturn

from worker.embedded import child
from worker.files import write_text

LOOK_S = 0.1
STOP_TIMEOUT_S = 60.0
LIVES = 5
LONG_LIFE_S = 15.0
PLAIN = frozenset(ascii_letters + digits + "/._-")  # means the same in a URL


def keep(folder: Path, binary: str) -> int:
    """Keep the server until nobody uses it; 1 where it ends again and again.

    Returns at once where another process keeps it.
    """
    # The keeper's lock is let go first: who waits for the other one then finds it free.
    with (folder / "users.lock").open("a") as users, (folder / "keeper.lock").open("a") as keeper:
        if not locked(keeper):
            return 0
        if before := socket_path(folder):
            _end_orphan(before)
        path = _choose(folder)
        # By its name alone where it is in the folder, which others may see under another path.
        write_text(folder / "socket", path.name if path.parent == folder else str(path))
        return _serve(_command(binary, folder, path=path), users)


def socket_path(folder: Path) -> Path | None:
    """Where the server of this folder answers, as its keeper wrote it down."""
    with suppress(FileNotFoundError):
        return folder / (folder / "socket").read_text("utf-8")
    return None


def ask(path: Path, command: bytes) -> bytes:
    """What the server says to a command; nothing where there is none."""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(command)
        return connection.recv(64)
    return b""


def locked(file: IO[str]) -> bool:
    """Whether this process has the file's lock now, to itself."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _serve(command: Sequence[str], users: IO[str]) -> int:
    lives = 0
    while lives < LIVES:
        began = time.monotonic()
        server = child.start(command, output=subprocess.DEVNULL, at_parents_death=signal.SIGTERM)
        try:
            while server.poll() is None:
                if locked(users):
                    return 0
                time.sleep(LOOK_S)
        finally:
            child.end(server, timeout_s=STOP_TIMEOUT_S)
        lives = 1 if time.monotonic() - began > LONG_LIFE_S else lives + 1
    return 1


def _command(binary: str, folder: Path, *, path: Path) -> list[str]:
    return [
        *(binary, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--logfile", str(folder / "redis.log"), "--daemonize", "no"),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        # Without the preamble the file can be read by another brand and version.
        *("--aof-use-rdb-preamble", "no", "--maxmemory-policy", "noeviction"),
    ]


def _choose(folder: Path) -> Path:
    """The first place where a socket can be: its path is short, and the file system has sockets.

    The folder itself, which all who use the data directory see; /tmp they may each have another.
    """
    for path in _places(folder):
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.bind(str(path))
            return path
    raise SystemExit(f"# there is no place for a socket, neither in {folder} nor in /tmp")


def _places(folder: Path) -> Iterator[Path]:
    if PLAIN.issuperset(str(folder)):
        yield folder / "redis.sock"
    own = Path("/tmp") / f"doivec-{os.getuid()}"  # noqa: S108 - checked here
    own.mkdir(mode=0o700, exist_ok=True)
    status = own.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SystemExit(f"# {own} is not this user's alone; remove it")
    yield own / (hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16] + ".sock")


def _end_orphan(path: Path) -> None:
    """Stop a server whose keeper was killed; its data is on disk."""
    ask(path, b"SHUTDOWN\r\n")
    while ask(path, b"PING\r\n"):
        time.sleep(LOOK_S)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2]))
