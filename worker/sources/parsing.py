"""Parsing what comes from outside: whatever a parser meets, it costs one record."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from worker.errors import InternalError

CUT_CHARACTERS = 200
P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)
_logged: set[tuple[type[BaseException], str, int]] = set()


def attempt(parse: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `parse` makes of one foreign record; raises ValueError, which rejects it, and no other.

    Anything else that it raises is a bug in it: the record is rejected as an `InternalError`, a
    ValueError, and the traceback is logged, the first time that it comes from its line of code.
    """
    try:
        return parse(*given, **named)
    except (ValueError, MemoryError):  # no memory is not the record's fault
        raise
    except Exception as error:
        _log_once(error)
        raise InternalError("internal error") from error


def told(raw: Any) -> str:
    """The first 200 characters of a value that was rejected, whatever it is."""
    try:
        return encodable(str(raw)[:CUT_CHARACTERS])
    except (ValueError, RecursionError):  # an integer of 5,000 digits, a list of lists of lists
        return f"({type(raw).__name__} that can't be shown)"


def encodable(text: str) -> str:
    """The text as it can be kept: half of a surrogate pair, which UTF-8 has not, as an escape."""
    return text.encode(errors="backslashreplace").decode()


def _log_once(error: Exception) -> None:
    frame = _innermost(error.__traceback__)
    kind = (type(error), *frame)
    if kind not in _logged:
        _logged.add(kind)
        log.error("a parser failed where it should have rejected: a bug", exc_info=error)


def _innermost(trace: TracebackType | None) -> tuple[str, int]:
    where = ("", 0)
    while trace:
        where = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return where
