"""The trainer's Celery application: the task, its worker, the beat schedule; no logic."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from celery import Celery, Task
from celery.beat import BeatLazyFunc
from celery.exceptions import Reject
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from kombu.entity import Exchange, Queue

from trainer.refinement.pending import Request
from trainer.refinement.slots import Slots, latest_slot
from worker.app import NO_FIXUPS, ending_in_a_line, log_by, log_workers_of, options
from worker.errors import LedgerUnavailable
from worker.ledger.facts import BEAT_S
from worker.ledger.ledger import Ledger
from worker.settings.environment import Settings, read_settings
from worker.sources.parsing import encodable
from worker.stopping import Stopping
from worker.ticker import Ticker

QUEUE, REFINE_TASK = "trainer", "trainer.refine"
PAUSE_S = 1.0
log = logging.getLogger(__name__)


def trainer_options(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for the trainer: a queue of its own, one task at a time."""
    return {
        **options(settings),
        "task_default_queue": QUEUE,
        "task_queues": [Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)],
        "task_routes": {REFINE_TASK: {"queue": QUEUE}},
        "worker_pool": "solo",
        "worker_concurrency": 1,
        "result_expires": None,  # else beat would add a task of its own
    }


def beat_options(settings: Settings) -> dict[str, Any]:
    """What beat needs besides; raises `ConfigurationError` for a crontab that is none.

    Beat says which slot is due, by the clock that it goes by itself: a worker whose clock is a
    second behind would still name the slot before.
    """
    path = settings.data_dir / "trainer" / "beat" / "schedule"
    entry = {
        "task": REFINE_TASK,
        "schedule": Slots(settings.schedule).crontab,
        "kwargs": {"slot": BeatLazyFunc(latest_slot, settings.schedule)},
        "options": {"queue": QUEUE, "retry": False},
    }
    return {
        "timezone": settings.schedule.time_zone,
        "beat_schedule": {"refine": entry},
        "beat_schedule_filename": str(path),
        "beat_scheduler": "trainer.refinement.beat:PatientScheduler",
    }


def start_beat(settings: Settings, *, level: str | None) -> None:
    """Be beat, by these settings, until told to stop; `level` overrules that of the log."""
    app.conf.update(beat_options(settings))
    log_by(settings.log, level=level)
    with _told(settings):
        app.start(["--quiet", "beat", "--loglevel", level or settings.log.level])


@contextmanager
def _told(settings: Settings) -> Iterator[None]:
    """Let the ledger know of this beat, so that a second one is seen."""
    ledger = Ledger.connect(settings.redis, options=settings.ingest)
    name = f"{socket.gethostname()}:{os.getpid()}"

    def beat() -> None:
        ledger.beat(name)

    with suppress(LedgerUnavailable):  # beat itself waits for it, and says so
        beat()
    ticker = Ticker("beat", beat, pause_s=BEAT_S)
    ticker.start()
    try:
        yield
    finally:
        ticker.stop()
        with suppress(LedgerUnavailable):
            ledger.end_beat(name)


def make_app(settings: Callable[[], Settings]) -> Celery:
    """A Celery application that reads its settings when it first needs them."""
    made = Celery("doivec-trainer", set_as_current=False, fixups=NO_FIXUPS)
    made.add_defaults(lambda: trainer_options(settings()))
    made.steps["worker"].add(Stopping)
    log_workers_of(made, settings)
    return made


app = make_app(read_settings)
_desk: Any = None


@app.task(name=REFINE_TASK, bind=True, acks_late=True)
def refine(self: Task, /, *arguments: Any, slot: str | None = None, **wishes: Any) -> None:
    """Ask for a refine: for a slot of the schedule, once; without one, by this task's id."""
    name = encodable(f"slot {slot}" if slot else f"task {self.request.id}")
    if arguments:  # there are none: told with the other wishes that can't be read
        wishes["arguments"] = list(arguments)
    try:
        _desk.ask(Request(id=name, asked_at=datetime.now(UTC), wishes=wishes))
    except BaseException as error:
        # The request is nowhere else: it goes back to its queue, after a pause.
        log.exception("refine of %s goes back to its queue", name)
        time.sleep(PAUSE_S)
        raise Reject(str(error), requeue=True) from error


@worker_init.connect
def start(sender: Any, **_: Any) -> None:
    """Make what a trainer's worker needs, before the first message is taken."""
    global _desk  # noqa: PLW0603 - one per process, made when it becomes a worker
    if sender.app is not app:
        return
    with ending_in_a_line("doi-trainer"):
        # Beat, and whoever asks a worker how it is, need none of it.
        from trainer.bootstrap import expose, open_desk  # noqa: PLC0415

        settings = read_settings()
        _desk = open_desk(settings, lost=_end)
        expose(settings)


@worker_ready.connect
def look_after(**_: Any) -> None:
    """Begin to take up what is pending."""
    if _desk:
        _desk.start()


@worker_shutting_down.connect
def hurry(**_: Any) -> None:
    """Let the refine under way stop at its next step."""
    if _desk:
        _desk.tell_to_stop()


@worker_shutdown.connect
def stop(**_: Any) -> None:
    """Let go of everything."""
    if _desk:
        _desk.close()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
