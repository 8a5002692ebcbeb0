"""A worker's threads, started while there is memory for them."""

from typing import Any

from celery import bootsteps

from worker.ticker import start_all


class Threads(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Starts all threads of the pool before the first message is taken."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Have as many threads as batches are worked on at once."""
        if executor := getattr(worker.pool, "executor", None):
            start_all(executor, worker.concurrency)
