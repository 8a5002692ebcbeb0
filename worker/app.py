"""The Celery application and its options; `celery -A worker.app worker` is a worker."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery import Celery, signals
from celery.worker import control
from celery.worker.control import inspect_command
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from kombu.utils.url import maybe_sanitize_url

from worker.addresses import celery_url
from worker.errors import ConfigurationError, WorkerError
from worker.ledger.failures import unreachable
from worker.logs import set_up
from worker.settings.environment import Settings, read_settings
from worker.settings.servers import RedisSettings
from worker.settings.watching import LogSettings
from worker.stopping import Stopping
from worker.threads import Threads

QUEUES = INTAKE, INGEST = "celery", "ingest"
BATCH_TASK = "worker.batch"
VISIBILITY_TIMEOUT_S = 30
# Celery's one for Django would put the current folder first on the path.
NO_FIXUPS: list[str] = []
# Not kombu's own keys: what lies there is another application's, to give back when it sees fit.
UNACKNOWLEDGED = {
    "unacked_key": "doivec:unacked",
    "unacked_index_key": "doivec:unacked_index",
    "unacked_mutex_key": "doivec:unacked_mutex",
}
# How often a connection for a message is tried, and after how many seconds: as Celery's retries do.
CONNECTING = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}
log = logging.getLogger(__name__)


def broker_url(redis: RedisSettings) -> str:
    """The URL of the settings as Celery writes it; raises `ConfigurationError` without one."""
    if redis.url is None:
        raise ConfigurationError(
            "set DOIVEC_REDIS__URL, or start the worker with `doi-worker run`, "
            "which brings a private Redis"
        )
    return celery_url(redis.url.get_secret_value())


def options(settings: Settings) -> dict[str, Any]:
    """Celery's configuration. Celery only carries: what must not be lost is in the ledger."""
    timeout_s = settings.redis.timeout_s
    return {
        "broker_url": broker_url(settings.redis),
        "broker_use_ssl": settings.redis.tls() or False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            **UNACKNOWLEDGED,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            **CONNECTING,
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_default_queue": INTAKE,
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_routes": {BATCH_TASK: {"queue": INGEST}},
        "worker_pool": "threads",
        "worker_concurrency": settings.ingest.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,  # for Flower
    }


def make_app(settings: Callable[[], Settings]) -> Celery:
    """A Celery application that reads its settings when it first needs them."""
    made = Celery("doivec", set_as_current=False, include=["worker.tasks"], fixups=NO_FIXUPS)
    made.add_defaults(lambda: options(settings()))
    made.steps["worker"].update((Stopping, Threads))
    log_workers_of(made, settings)
    return made


def log_workers_of(application: Celery, settings: Callable[[], Settings]) -> None:
    """Let the workers of an application log in the way of the settings."""

    def set_up_log(instance: Any, options: dict[str, Any], **_: Any) -> None:
        if instance.app is application:  # not another program's, which imports us to queue
            with suppress(ConfigurationError):  # it is told when the worker starts
                log_by(settings().log, level=options.get("loglevel"))

    signals.celeryd_init.connect(set_up_log, weak=False)


def log_by(settings: LogSettings, *, level: str | int | None = None) -> None:
    """Log in the way of the settings, and keep Celery from setting up its own."""
    set_up(settings, level=level)
    signals.setup_logging.connect(_set_up_already, weak=False)


def _set_up_already(**_: Any) -> None:
    pass


def sender(application: Celery) -> Callable[[str, int], None]:
    """How a batch's claim check is queued; raises `LedgerUnavailable`."""

    def send(job: str, number: int) -> None:
        try:
            # Who calls tries again, or a sweep does: kombu's own retry may publish on a channel
            # that it has closed.
            application.send_task(BATCH_TASK, args=[job, number], queue=INGEST, retry=False)
        except OperationalError as error:
            raise unreachable(error) from error

    return send


@contextmanager
def ending_in_a_line(program: str) -> Iterator[None]:
    """End this process with a line where it can't become a worker.

    Celery would go on: it only logs what the receivers of its signals raise.
    """
    try:
        yield
    except Exception as error:
        log.debug("no start", exc_info=True)
        reason = error if isinstance(error, WorkerError) else repr(error)
        raise SystemExit(f"{program}: {reason}") from error


def answering(application: Celery, *, timeout_s: float) -> dict[str, dict[str, Any]]:
    """What the Celery workers that answer in time say of themselves, by name, with their queues.

    A busy one may not answer.
    """
    try:
        asked = application.control.inspect(timeout=timeout_s)
        said = asked.stats() or {}
        queues = (asked.active_queues() or {}) if said else {}
    except OperationalError as error:
        raise unreachable(error) from error
    return {
        name: {**words, "queues": [queue["name"] for queue in queues.get(name, ())]}
        for name, words in said.items()
    }


def restore_unacknowledged(application: Celery) -> None:
    """Give back to the queues what workers took longer ago than the visibility timeout.

    Celery's own workers do so too, but only every hundred seconds.
    """
    try:
        with application.connection_for_write() as connection:
            connection.default_channel.qos.restore_visible(num=1000, interval=1)
    except OperationalError as error:
        raise unreachable(error) from error


@inspect_command(name="stats")
def _stats(state: Any, **_: Any) -> dict[str, Any]:
    """Celery's own answer without a password: kombu keeps the URL of a socket whole."""
    answer: dict[str, Any] = control.stats(state)
    broker = answer.get("broker", {})
    return {**answer, "broker": {**broker, "hostname": maybe_sanitize_url(broker.get("hostname"))}}


app = make_app(read_settings)
