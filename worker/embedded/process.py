"""A worker in a process of its own, for as long as a command runs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from worker.embedded import child
from worker.errors import WorkerError
from worker.settings.environment import Settings
from worker.settings.servers import RedisSettings

STOP_TIMEOUT_S = 60.0
RESTARTS = 5
LONG_LIFE_S = 15.0  # one that dies sooner has not even tried a lost batch


class WorkerProcess:
    """A worker in a process of its own, started again when it dies.

    Where this process is killed the worker is too: it holds the store, and what it has in hand is
    queued again. Make and check one in the main thread alone.
    """

    def __init__(
        self,
        settings: Settings,
        redis: RedisSettings,
        *,
        log: Path | None,
        level: str | None = None,
    ) -> None:
        self._environment = {
            **os.environ,
            **({"DOIVEC_REDIS__URL": redis.url.get_secret_value()} if redis.url else {}),
            "DOIVEC_QDRANT__EMBEDDED": "true",
            "DOIVEC_DATA_DIR": str(settings.data_dir),
            **({"DOIVEC_LOG__LEVEL": level} if level else {}),
        }
        self._data_dir = settings.data_dir
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
        child.end(self._process, timeout_s=STOP_TIMEOUT_S)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def tell_to_stop(self) -> None:
        """Tell the worker to finish what it has in hand, and to end then."""
        self._process.terminate()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def finish(self) -> None:
        """Let the worker finish what it has in hand, however long that takes.

        Interrupted, end it at once.
        """
        self.tell_to_stop()
        try:
            self._process.wait()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End the worker at once; what it had in hand is queued again."""
        self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "worker.cli", "run"]
        self._started = time.monotonic()
        with self._log.open("ab") if self._log else nullcontext() as log:
            return child.start(
                command, env=self._environment, output=log, at_parents_death=signal.SIGKILL
            )

    def _last_words(self) -> str:
        code = self._process.returncode
        where = f" (its log: {self._log})" if self._log else ""
        if code < 0:
            return _of_signal(-code, self._data_dir) + where
        if self._log is None:
            return f"exit code {code}"
        lines = self._log.read_text(errors="replace").splitlines()
        said = [line for line in lines if line.startswith("doi-worker: ")]
        return (said or lines or ["nothing"])[-1].removeprefix("doi-worker: ") + where


def _of_signal(number: int, data_dir: Path) -> str:
    """What a signal says that ended a worker; the two that have a cause to be seen to tell it."""
    name = signal.Signals(number).name
    if number == signal.SIGBUS:
        free = shutil.disk_usage(data_dir).free // 2**20
        return f"{name}: most often the disk is full; {free:,} MiB are free in {data_dir}"
    if number == signal.SIGKILL:
        return f"{name}: most often the machine has no memory left"
    return name
