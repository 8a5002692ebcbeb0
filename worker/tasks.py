"""The tasks: each hands its message to an object that knows nothing of Celery."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from celery import Task
from celery.exceptions import Reject
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from celery.worker.state import active_requests, reserved_requests

from worker import runtime
from worker.app import BATCH_TASK, app, ending_in_a_line
from worker.errors import DeviceLost, ModelError, NoRoom
from worker.ingest.presence import finishing
from worker.model.registered import Source
from worker.settings.environment import read_settings

INTAKE_PAUSE_S = 1.0
log = logging.getLogger(__name__)
_runtime: runtime.Runtime
_given_back: set[tuple[str, int]] = set()
_ending = threading.Event()


@app.task(name=BATCH_TASK)
def batch(*arguments: Any, **named: Any) -> None:
    """Work the batch (job, number) off; what is lost here, the ledger's sweep finds."""
    match arguments, named:
        case (str(job), int(number)), _ if _is_ours(number, named):
            if _runtime.patience.is_stopped:
                _give_back(job, number)
            else:
                _guarded(_runtime.ingestor.run, job, number)
        case _:
            log.error("no batch of ours: %r %r", arguments, named)


def _is_ours(number: int, named: Mapping[str, Any]) -> bool:
    return number >= 0 and not isinstance(number, bool) and not named


@app.task(name="worker.ingest", bind=True, acks_late=True)
def ingest(self: Task, /, *arguments: Any, **named: Any) -> None:
    """Take a list of DOIs, or of objects with a `doi` and metadata, as a job of this task's id."""
    try:
        _runtime.intake.take(self.request.id, arguments, named)
    except BaseException as error:
        # The list is nowhere else: it goes back to its queue, after a pause.
        log.exception("list %s goes back to its queue", self.request.id)
        time.sleep(INTAKE_PAUSE_S)
        raise Reject(str(error), requeue=True) from error


def _guarded(call: Callable[..., object], *arguments: Any) -> None:
    # Nothing escapes: an exception of some kinds leaves a worker of Celery's threads pool alive
    # and idle. The batch's lease runs out, and the loss is counted.
    try:
        call(*arguments)
    except DeviceLost:
        log.critical("the accelerator is lost; this worker ends", exc_info=True)
        runtime.end_this_process()
    except NoRoom as error:
        log.critical("%s; this worker ends", error)
        runtime.end_this_process()
    except ModelError as error:
        print(f"doi-worker: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # nothing is in hand that another start would finish
    except BaseException:
        log.exception("%s%r failed", call.__qualname__, arguments[:1])


def start(pool: type, *, source: Source | None = None) -> None:
    """Load the model and open the store, before the first message is taken."""
    global _runtime  # noqa: PLW0603 - one per process, made when it becomes a worker
    _runtime = runtime.start_worker(read_settings(), app, pool=pool, source=source)


@worker_init.connect
def become_worker(sender: Any, **_: Any) -> None:
    """Make this process a worker; one that can't be says why in a line, and ends."""
    if sender.app is not app:
        return  # the trainer's worker, or another program's
    with ending_in_a_line("doi-worker"):
        start(sender.pool_cls)


@worker_ready.connect
def look_after(**_: Any) -> None:
    """Begin the heartbeat, the sweeps, and the look-out for backfills."""
    _runtime.start()
    # Begun now: when it is wanted there may be no memory to start a thread.
    threading.Thread(target=_give_all_back, name="doivec-back", daemon=True).start()


@worker_shutting_down.connect
def hurry(**_: Any) -> str:
    """Give back what waits for a store that is away; what is left to do, in words."""
    _runtime.patience.stop()
    # Not here: a signal interrupted what may hold the connection.
    _ending.set()
    return finishing(_runtime.presence.state())


def _give_all_back() -> None:
    """When this one ends, let others have the batches that Celery fetched ahead."""
    _ending.wait()
    for request in list(reserved_requests - active_requests):
        if request.name == BATCH_TASK:
            _give_back(*request.args)


def _give_back(job: str, number: int) -> None:
    if (job, number) not in _given_back:
        _given_back.add((job, number))
        _guarded(_runtime.producer.send, job, number)


@worker_shutdown.connect
def stop(**_: Any) -> None:
    """Let go of everything."""
    _runtime.close()
