"""A worker's threads, started while there is memory for them."""

import threading
from typing import Any

from celery import bootsteps

START_S = 60.0


class Threads(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Starts all threads of the pool before the first message is taken.

    The pool starts one when a message comes. Where memory lacks just then, Python's new thread may
    end before it has said that it runs, and the main thread waits for that for ever.
    """

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Have as many threads as batches are worked on at once."""
        if executor := getattr(worker.pool, "executor", None):
            meeting = threading.Barrier(worker.concurrency + 1)
            for _ in range(worker.concurrency):
                executor.submit(meeting.wait, START_S)
            meeting.wait(START_S)
