"""What was found, how bad it is, and what to do."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import NamedTuple

from worker.errors import WorkerError


class Level(StrEnum):
    """How bad a finding is: an error stops work or loses data, a warning may come to that."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(NamedTuple):
    """What one check found; `todo` says what to do, and is empty where all is well."""

    check: str
    level: Level
    words: str
    todo: str = ""


Findings = Iterator[Finding]


def fine(check: str, words: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, words)


def doubtful(check: str, words: str, todo: str) -> Finding:
    """Something may go wrong."""
    return Finding(check, Level.WARNING, words, todo)


def wrong(check: str, words: str, todo: str) -> Finding:
    """Something is wrong."""
    return Finding(check, Level.ERROR, words, todo)


def attempted(check: str, look: Callable[[], Findings], *, todo: str) -> Findings:
    """What a look finds; where it fails, that is a finding."""
    try:
        yield from look()
    except (WorkerError, OSError) as error:
        yield wrong(check, str(error) or repr(error), todo)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks must come
        # Only its kind: a stranger's words may hold a password.
        words = f"this could not be looked at: {type(error).__name__}"
        yield wrong(check, words, f"report it; {todo}")
