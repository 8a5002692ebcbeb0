"""Waiting out what may pass: growing, jittered pauses until it does, or until told to stop."""

import logging
import threading
import time
import weakref
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

from worker import metrics
from worker.errors import LedgerUnavailable, Stopped, StoreUnavailable

T = TypeVar("T")
P = ParamSpec("P")
TRANSIENT = (LedgerUnavailable, StoreUnavailable)
SILENCE_S, AGAIN_S = 8.0, 60.0
REDIS, STORE = "Redis", "the vector store"
LABELS = {REDIS: "redis", STORE: "store"}
ANSWERERS = {"worker.ledger": REDIS, "worker.store": STORE}
log = logging.getLogger(__name__)


class Said:
    """Which words were said lately: the same ones are said once, and then once a minute."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_due(self, words: str) -> bool:
        """Whether to say these words now; they count as said then."""
        with self._lock:
            now = self._clock()
            self._at = {said: at for said, at in self._at.items() if now - at < AGAIN_S}
            return self._at.setdefault(words, now) == now


class Patience:
    """Repeats calls that fail for what may pass.

    A worker whose store or ledger is away has nothing else to do, so it waits with what it has
    in hand, as long as it takes; a command waits until `give_up_s` and then raises the error.
    `stop` ends all waiting with `Stopped`. What is waited for is said: at once where a call fails,
    after `silence_s` where it doesn't answer, and then once a minute; `waits` has it meanwhile.
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
        self._said = Said()
        self._lock = threading.RLock()  # a signal's handler asks, too
        self._asked: dict[object, tuple[str, float]] = {}  # who is asked, since when
        self._watch: threading.Thread | None = None
        self._waits: dict[object, tuple[str, str]] = {}
        self._until = stop_never if give_up_s is None else stop_after_delay(give_up_s)
        self._stop = threading.Event()
        self._wait = wait_exponential_jitter(multiplier=first_s, max=longest_s, jitter=first_s)

    def stop(self) -> None:
        """End all waiting, now and later."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    @property
    def waits(self) -> dict[str, str]:
        """What is waited for now: what was said of it last, by who is to answer."""
        with self._lock:
            return dict(self._waits.values())

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of `call`, as soon as it answers; raises `Stopped` after `stop`."""
        key = object()

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            server = REDIS if isinstance(error, LedgerUnavailable) else STORE
            metrics.RETRIES.labels(LABELS[server]).inc()
            self._begin_wait(key, server, str(error))
            self._say(f"waiting, and trying again: {error}")

        retrying = Retrying(
            retry=retry_if_exception_type(TRANSIENT),
            wait=self._pause_s,
            stop=self._until,
            sleep=self._sleep,
            reraise=True,
            before_sleep=tell,
        )
        with self._watched(_answerer(call), key):
            return retrying(call, *args, **kwargs)

    @contextmanager
    def _watched(self, server: str | None, key: object) -> Iterator[None]:
        """Say that a server doesn't answer, where one is asked and doesn't."""
        began = time.monotonic()
        with self._lock:
            self._asked[key] = (server or "", began)
            if server and not self._watch:
                self._watch = _watching(self, pause_s=self._silence_s / 8)
        try:
            yield
        finally:
            self._end_wait(key, time.monotonic() - began)

    def look(self) -> None:
        """Say which servers don't answer."""
        late = time.monotonic() - self._silence_s
        with self._lock:
            asked = [(key, server) for key, (server, at) in self._asked.items() if at < late]
        for key, server in asked:
            if server and key not in self._waits:
                words = f"no answer yet from {server}"
                self._begin_wait(key, server, words)
                self._say(words)

    def _begin_wait(self, key: object, server: str, words: str) -> None:
        with self._lock:
            if key in self._asked:  # it may have answered just now
                self._waits[key] = (server, words)
                metrics.WAITING.labels(LABELS[server]).set(1)

    def _end_wait(self, key: object, waited_s: float) -> None:
        with self._lock:
            self._asked.pop(key, None)
            if (waited := self._waits.pop(key, None)) is None:
                return
            server = waited[0]
            if server not in dict(self._waits.values()):
                metrics.WAITING.labels(LABELS[server]).set(0)
        if waited_s > AGAIN_S:
            log.warning("no longer waiting for %s, after %.0f s", server, waited_s)

    def _pause_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = getattr(error, "retry_after_s", None)
        return max(self._wait(state), asked_s or 0.0)

    def _sleep(self, pause_s: float) -> None:
        if self._stop.wait(pause_s):
            raise Stopped("told to stop while waiting")

    def _say(self, words: str) -> None:
        if self._said.is_due(words):
            log.warning("%s", words)


def _watching(patience: Patience, *, pause_s: float) -> threading.Thread:
    """A thread that looks at what is asked, for as long as there is the patience.

    One for all calls: a thread that is started while memory lacks may end before it has said that
    it runs, and who started it waits for that for ever.
    """
    there = weakref.ref(patience)

    def look() -> None:
        while patience := there():
            try:
                patience.look()
            except Exception:  # whatever it is, the next look must come
                log.exception("the watch over what is waited for failed")
            del patience
            time.sleep(pause_s)  # it ends with its patience

    thread = threading.Thread(target=look, name="doivec-patience", daemon=True)
    thread.start()
    return thread


def _answerer(call: Callable[..., object]) -> str | None:
    """Who is to answer a call."""
    module = getattr(call, "__module__", "")
    return next((name for room, name in ANSWERERS.items() if room in module), None)
