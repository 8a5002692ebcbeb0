"""What a worker does when: the batches in hand, how far each is, and how long each step takes."""

import json
import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worker import metrics

LATELY_S = 30.0


class Trace:
    """Appends a span per step to a file that chrome://tracing and Perfetto read; off without one.

    The format is the JSON array of "complete" events of the Trace Event Format (Google, 2016),
    whose closing bracket is optional; times are microseconds since the epoch.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("a", buffering=1) if path else None
        if self._file and self._file.tell() == 0:
            self._file.write("[\n")

    def add(self, name: str, *, seconds: float, **arguments: Any) -> None:
        """Record a span that took so long and ends now."""
        if self._file is None:
            return
        event = {
            "name": name,
            "ph": "X",
            "ts": time.time_ns() / 1000 - seconds * 1e6,
            "dur": seconds * 1e6,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "args": arguments,
        }
        self._file.write(json.dumps(event) + ",\n")

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


class Pace:
    """How fast a count grows: between the first and the last note of the last half minute.

    The time before it begins to grow is none of it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notes: deque[tuple[float, int]] = deque()

    def note(self, done: int) -> None:
        """The count is `done` now."""
        now = self._clock()
        if len(self._notes) == 1 and self._notes[0][1] == done:
            self._notes.clear()  # it has not begun to grow
        self._notes.append((now, done))
        while self._notes[0][0] < now - LATELY_S and self._notes[1][0] <= now - LATELY_S:
            self._notes.popleft()

    @property
    def per_s(self) -> float:
        """How much the count grew in a second; 0 where that isn't known."""
        if len(self._notes) < 2:  # noqa: PLR2004 - two points make a slope
            return 0.0
        (began, before), (now, done) = self._notes[0], self._notes[-1]
        return max(0.0, (done - before) / (now - began)) if now > began else 0.0


class Work:
    """A batch in hand: how many of its records are embedded, and the seconds of each step."""

    def __init__(self, job: str, number: int, *, records: int, trace: Trace) -> None:
        self.job = job
        self.number = number
        self.records = records
        self.embedded = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._trace = trace
        self._began = time.monotonic()

    @property
    def for_s(self) -> float:
        """How long it has been in hand."""
        return time.monotonic() - self._began

    def embed(self, records: int) -> None:
        """Note that so many more of its records are embedded.

        Where they are tried again, or written to two collections, not more than there are.
        """
        self.embedded = min(self.records, self.embedded + records)

    @contextmanager
    def step(self, name: str, **arguments: Any) -> Iterator[None]:
        """Record how long the body took, under `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            self.seconds[name] += seconds
            metrics.STEP.labels(name).observe(seconds)
            batch = f"{self.job}:{self.number}"
            self._trace.add(name, seconds=seconds, batch=batch, **arguments)


class Desk:
    """The batches that a process has in hand, and how fast it works them off."""

    def __init__(self, trace: Trace | None = None) -> None:
        self._trace = trace or Trace()
        self._lock = threading.RLock()  # a signal's handler asks, too
        self._works: list[Work] = []
        self._settled = 0
        self._pace = Pace()
        self.moved = time.monotonic()  # when it last settled a batch, or took the first one

    @contextmanager
    def work(self, job: str, number: int, *, records: int) -> Iterator[Work]:
        """A batch that is in hand while the context is open."""
        made = Work(job, number, records=records, trace=self._trace)
        with self._lock:
            if not self._works:
                self.moved = time.monotonic()  # what was not there could not move
            self._works.append(made)
        metrics.IN_HAND.inc()
        try:
            yield made
        finally:
            metrics.IN_HAND.dec()
            with self._lock:
                self._works.remove(made)

    def settle(self, records: int) -> None:
        """Note that a batch of so many records has settled."""
        with self._lock:
            self.moved = time.monotonic()
            self._settled += records

    def works(self) -> list[Work]:
        """The batches in hand, the first one first."""
        with self._lock:
            return list(self._works)

    def records_per_s(self) -> float:
        """How many records a second it embedded or settled lately, as it was asked for that."""
        with self._lock:
            self._pace.note(self._settled + sum(work.embedded for work in self._works))
            return self._pace.per_s

    def close(self) -> None:
        """Close the file of the trace."""
        self._trace.close()
