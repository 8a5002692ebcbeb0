"""The pace of requests: no more in any interval, and no more at once, than a registry allows."""

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from worker.errors import Stopped

# A request that was sent so long ago has reached the registry, whether or not it has answered.
UNDERWAY_S = 0.25
MOST_PER_S = 150  # what Crossref allows its subscribers
LONGEST_INTERVAL_S = 3600.0
INTERVAL = re.compile(r"([0-9]{1,7})(ms|s|m|h)?")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


class Limit(NamedTuple):
    """So many requests in an interval, in seconds, and so many at once."""

    requests: int
    interval_s: float
    at_once: int


class _Sent:
    """A request: when it was sent, and when it was answered."""

    def __init__(self, now: float) -> None:
        self.sent = now
        self.ended = float("inf")

    @property
    def arrived(self) -> float:
        """When it had reached the registry at the latest."""
        return min(self.ended, self.sent + UNDERWAY_S)


class Pace:
    """Gives the threads that ask a registry their turns.

    Requests are of kinds, each with a limit of its own; but all requests count in each, since a
    registry may have one pool for all.
    """

    def __init__(self, *, threads: int, limits: Mapping[str, Limit]) -> None:
        self._threads = threads
        self._limits = dict(limits)
        self._sent: list[_Sent] = []
        self._rests_until = 0.0
        self._stopped = False
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, kind: str) -> Iterator[None]:
        """A time in which one request may be sent; raises `Stopped` after `stop`."""
        with self._changed:
            while (pause_s := self._pause_s(kind, time.monotonic())) > 0:
                self._changed.wait(pause_s)
            request = _Sent(time.monotonic())
            self._sent.append(request)
        try:
            yield
        finally:
            with self._changed:
                request.ended = time.monotonic()
                self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Let no request be sent for so long."""
        with self._changed:
            self._rests_until = max(self._rests_until, time.monotonic() + seconds)

    def learn(self, kind: str, headers: Mapping[str, str]) -> None:
        """Take the limit that an answer names; what it doesn't name, or not clearly, stays."""
        with self._changed:
            self._limits[kind] = told(headers, self._limits[kind], threads=self._threads)
            self._changed.notify_all()

    def stop(self) -> None:
        """End all waiting, now and later."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _pause_s(self, kind: str, now: float) -> float:
        """How long a request must wait at least; it may have to wait on then."""
        if self._stopped:
            raise Stopped("a registry is asked no more")
        limit = self._limits[kind]
        longest_s = max(other.interval_s for other in self._limits.values())
        self._sent = [one for one in self._sent if one.arrived > now - longest_s or _runs(one)]
        if sum(map(_runs, self._sent)) >= limit.at_once:
            return threading.TIMEOUT_MAX  # until one has ended
        recent = sorted(one.arrived for one in self._sent)
        counts = recent[-limit.requests] if len(recent) >= limit.requests else now - longest_s
        return max(counts + limit.interval_s, self._rests_until) - now


def _runs(request: _Sent) -> bool:
    return request.ended == float("inf")


def told(headers: Mapping[str, str], limit: Limit, *, threads: int) -> Limit:
    """The limit in force after an answer: what its headers say, within reason."""
    requests = _whole(headers.get("x-rate-limit-limit"))
    interval_s = _seconds(headers.get("x-rate-limit-interval"))
    at_once = _whole(headers.get("x-concurrency-limit")) or limit.at_once
    if not requests or not interval_s:
        requests, interval_s = limit.requests, limit.interval_s
    most = max(1, int(MOST_PER_S * interval_s))
    return Limit(min(requests, most), interval_s, min(at_once, threads))


def _whole(text: str | None) -> int:
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else 0


def _seconds(text: str | None) -> float:
    found = INTERVAL.fullmatch(text or "")
    seconds = int(found[1]) * SECONDS[found[2]] if found else 0.0
    return seconds if seconds <= LONGEST_INTERVAL_S else 0.0
