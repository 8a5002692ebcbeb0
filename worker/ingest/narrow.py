"""Finding the item that makes all of them fail."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from worker.ingest.faults import INFRASTRUCTURE

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An item that failed when it was tried alone."""

    item: Any
    error: Exception


def narrow(
    attempt: Callable[[Sequence[T]], R], items: Sequence[T]
) -> Iterator[tuple[Sequence[T], R] | Failure]:
    """Try items together; where that fails, in halves, down to the one that fails alone.

    Out of memory is narrowed like poison: a half may fit. What is the fault of the
    infrastructure, not of the items, is raised.
    """
    if not items:
        return
    try:
        yield items, attempt(items)
    except INFRASTRUCTURE:
        raise
    except Exception as error:
        if len(items) == 1:
            if isinstance(error, MemoryError):  # a record is small: this machine has none left
                raise
            yield Failure(items[0], error)
            return
        log.info("%d records failed together (%s); trying halves", len(items), error)
        middle = len(items) // 2
        yield from narrow(attempt, items[:middle])
        yield from narrow(attempt, items[middle:])
