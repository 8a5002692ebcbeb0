"""Whose turn it is at the device: ingest's, or a backfill's."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MEMORY_S = 30.0


class Turns:
    """One at a time, and while ingest waits, a backfill gets `share` of the time.

    A backfill pays for each second with seconds in which ingest goes first; what ingest takes
    pays that off. What one side is owed is forgotten beyond half a minute, so that neither pays
    for a time in which the other wanted nothing.
    """

    def __init__(self, *, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._price = (1 - share) / share
        self._clock = clock
        self._changed = threading.Condition()
        self._is_taken = False
        self._waiting = {False: 0, True: 0}  # by whether it is a backfill
        self._debt_s = 0.0

    def waiting(self, *, backfill: bool) -> int:
        """How many backfills, or ingests, wait for the device."""
        with self._changed:
            return self._waiting[backfill]

    @contextmanager
    def taken(self, *, backfill: bool) -> Iterator[None]:
        """Hold the device while the context is open."""
        self._take(backfill=backfill)
        began = self._clock()
        try:
            yield
        finally:
            self._give_back(self._clock() - began, backfill=backfill)

    def _take(self, *, backfill: bool) -> None:
        with self._changed:
            self._waiting[backfill] += 1
            self._changed.wait_for(lambda: self._may_go(backfill=backfill))
            self._waiting[backfill] -= 1
            self._is_taken = True

    def _may_go(self, *, backfill: bool) -> bool:
        if self._is_taken:
            return False
        if backfill:
            return self._waiting[False] == 0 or self._debt_s < 0
        return self._waiting[True] == 0 or self._debt_s >= 0

    def _give_back(self, spent_s: float, *, backfill: bool) -> None:
        with self._changed:
            change_s = spent_s * self._price if backfill else -spent_s
            self._debt_s = min(max(self._debt_s + change_s, -MEMORY_S), MEMORY_S)
            self._is_taken = False
            self._changed.notify_all()
