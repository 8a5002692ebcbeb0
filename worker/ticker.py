"""Threads: one that does something now and then, and all of a pool's at once."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor

from worker.patience import TRANSIENT, Said

START_S = 60.0
log = logging.getLogger(__name__)
said = Said()  # of all tickers: they ask the same servers


class Ticker:
    """Calls `do` after each pause of `pause_s`, from a thread of its own, until stopped.

    What `do` raises is logged: whatever it is, the next call must come. What may pass is said once
    by all tickers, and then once a minute.
    """

    def __init__(self, name: str, do: Callable[[], object], *, pause_s: float) -> None:
        self._do = do
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"doivec-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the call under way."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._pause_s):
            try:
                self._do()
            except TRANSIENT as error:
                if said.is_due(str(error)):
                    log.warning("%s: %s", self._thread.name, error)
            except Exception:  # whatever it is, the next call must come
                log.exception("%s failed", self._thread.name)


def start_all(pool: Executor, count: int) -> None:
    """Start all `count` threads of a pool now, while there is memory for them.

    A pool starts one when it is given work. Where memory lacks just then, Python's new thread may
    end before it has said that it runs, and who started it waits for that for ever.
    """
    meeting = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(meeting.wait, START_S)
    meeting.wait(START_S)
