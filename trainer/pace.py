"""How fast something gets on, in a line now and then: for logs, and where there is no terminal."""

import time
from collections.abc import Callable
from datetime import timedelta

EVERY_S = 30.0


class Pace:
    """Says how far a piece of work is: at its first step, every 30 seconds, and at its end.

    `say` hears each line, `clock` gives seconds.
    """

    def __init__(
        self, label: str, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._say = say
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._said_at = -EVERY_S
        self._loss = ""

    def show(self, done: int, total: int, loss: float | None = None) -> None:
        """Take in that `done` of `total` are done; `loss` where one is known anew."""
        now = self._clock()
        if loss is not None:
            self._loss = f", loss {loss:.4f}"
        if self._first is None:
            self._first, self._said_at = (now, done), now - EVERY_S
        if now - self._said_at >= EVERY_S or done >= total:
            self._said_at = now
            self._say(
                f"{self._label}: {done:,} of {total:,}{self._loss}{self._left(now, done, total)}"
            )

    def _left(self, now: float, done: int, total: int) -> str:
        began_at, began = self._first or (now, done)
        if not began < done < total:
            return ""
        seconds = (now - began_at) * (total - done) / (done - began)
        return f", {timedelta(seconds=round(seconds))} left"
