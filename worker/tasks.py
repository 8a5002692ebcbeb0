"""The tasks: each hands its message to an object that knows nothing of Celery."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from celery import Task
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from worker import bootstrap
from worker.app import BATCH_TASK, app
from worker.errors import DeviceLost, ModelError
from worker.settings import read_settings

log = logging.getLogger(__name__)
_runtime: bootstrap.Runtime


@app.task(name=BATCH_TASK)
def batch(job: str, number: int) -> None:
    """Work one batch off; what is lost here, the ledger's sweep finds."""
    _guarded(_runtime.ingestor.run, job, number)


@app.task(name="worker.ingest", bind=True, acks_late=True)
def ingest(self: Task, dois: list[Any]) -> None:
    """Take a list of DOIs, or of objects with a `doi` and metadata, as a job of this task's id."""
    _guarded(_runtime.intake, self.request.id, dois)


def _guarded(call: Callable[..., None], *arguments: Any) -> None:
    # Nothing escapes: an exception of some kinds leaves a worker of Celery's threads pool alive
    # and idle. The batch's lease runs out, and the loss is counted.
    try:
        call(*arguments)
    except (DeviceLost, ModelError) as error:
        log.critical("this worker ends", exc_info=True)
        print(f"doi-worker: {error}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
    except BaseException:
        log.exception("%s%r failed", call.__qualname__, arguments[:1])


def start(pool: type, *, load: bootstrap.Load = bootstrap.live_model) -> None:
    """Load the model and open the store, before the first message is taken."""
    global _runtime  # noqa: PLW0603 - one per process, made when it becomes a worker
    _runtime = bootstrap.start_worker(read_settings(), app, pool=pool, load=load)


@worker_ready.connect
def look_after(**_: Any) -> None:
    """Begin the heartbeat and the sweeps."""
    _runtime.start()


@worker_shutting_down.connect
def hurry(**_: Any) -> None:
    """Give back what waits for a store that is away."""
    _runtime.patience.stop()


@worker_shutdown.connect
def stop(**_: Any) -> None:
    """Let go of everything."""
    _runtime.close()
