"""Waiting out what may pass: growing, jittered pauses until it does, or until told to stop."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_exponential_jitter,
)

from worker.errors import LedgerUnavailable, Stopped, StoreUnavailable

T = TypeVar("T")
P = ParamSpec("P")
TRANSIENT = (LedgerUnavailable, StoreUnavailable)
SILENCE_S, AGAIN_S = 8.0, 60.0
ANSWERERS = {"worker.ledger": "Redis", "worker.store": "the vector store"}
log = logging.getLogger(__name__)


class Patience:
    """Repeats calls that fail for what may pass.

    A worker whose store or ledger is away has nothing else to do, so it waits with what it has
    in hand, as long as it takes; a command waits until `give_up_s` and then raises the error.
    `stop` ends all waiting with `Stopped`. What is waited for is said: at once where a call fails,
    after `silence_s` where it doesn't answer, and then once a minute.
    """

    def __init__(
        self,
        *,
        first_s: float = 0.1,
        longest_s: float = 5.0,
        give_up_s: float | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._silence_s = silence_s
        self._said: dict[str, float] = {}
        self._until = stop_never if give_up_s is None else stop_after_delay(give_up_s)
        self._stop = threading.Event()
        self._wait = wait_exponential_jitter(multiplier=first_s, max=longest_s, jitter=first_s)

    def stop(self) -> None:
        """End all waiting, now and later."""
        self._stop.set()

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of `call`, as soon as it answers; raises `Stopped` after `stop`."""
        retrying = Retrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=self._pause_s,
            stop=self._until,
            sleep=self._sleep,
            reraise=True,
            before_sleep=self._tell,
        )
        with self._watched(call):
            return retrying(call, *args, **kwargs)

    @contextmanager
    def _watched(self, call: Callable[..., object]) -> Iterator[None]:
        """Say that a server doesn't answer, where one is asked and doesn't."""
        module = getattr(call, "__module__", "")
        whom = next((name for room, name in ANSWERERS.items() if room in module), None)
        watch = threading.Timer(self._silence_s, self._say, [f"no answer yet from {whom}"])
        watch.daemon = True
        if whom:
            watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _pause_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = getattr(error, "retry_after_s", None)
        return max(self._wait(state), asked_s or 0.0)

    def _sleep(self, pause_s: float) -> None:
        if self._stop.wait(pause_s):
            raise Stopped("told to stop while waiting")

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._say(f"waiting, and trying again: {error}")

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if now - self._said.get(words, -AGAIN_S) >= AGAIN_S:
            self._said = {words: now}
            log.warning("%s", words)
