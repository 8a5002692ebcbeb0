"""The log of a process that serves: time and level on every line, or an object of JSON a line."""

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

from worker.patience import Said
from worker.settings.watching import LogSettings

# A line for each batch is ours (`worker.ingest.ends`); Celery has two for each message.
CHATTY = ("celery.worker.strategy", "celery.app.trace", "httpx", "sentence_transformers")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FOREIGN, CONSUMER = ("celery", "kombu"), "celery.worker.consumer.consumer"
SETTLED = r"\s*In Celery 5.1 we introduced"  # `worker.app` has said which it shall be


class Text(logging.Formatter):
    """`2026-11-26 14:28:45,978 WARNING words`; a traceback stands below its line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")


class Json(logging.Formatter):
    """An object a line; what a batch came to has its fields besides the words."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class OneLine(logging.Filter):
    """Each event's words in one line; a traceback has its own below."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Log it."""
        record.msg, record.args = " ".join(record.getMessage().split()), ()
        return True


class Seldom(logging.Filter):
    """What Celery says again and again while its broker is away, once a minute, in a line."""

    def __init__(self) -> None:
        super().__init__()
        self._said = Said()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if not record.name.startswith(FOREIGN) or record.levelno < logging.WARNING:
            return True
        if record.name == CONSUMER:
            record.exc_info = record.exc_text = None  # its words say it
        return self._said.is_due(f"{record.name} {record.msg}")


def set_up(settings: LogSettings, *, level: str | int | None = None) -> None:
    """Log to standard error from now on, in the way of the settings; `level` overrules theirs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if settings.format == "json" else Text())
    handler.addFilter(Seldom())
    handler.addFilter(OneLine())
    root = logging.getLogger()
    for former in list(root.handlers):
        root.removeHandler(former)
    root.addHandler(handler)
    chosen = level or settings.level
    root.setLevel(chosen)
    is_debug = root.level <= logging.DEBUG
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if is_debug else logging.WARNING)
    logging.captureWarnings(capture=True)
    warnings.filterwarnings("ignore", message=SETTLED)
