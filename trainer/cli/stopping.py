"""Being told to stop, by a signal."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether the process was told to stop: the run then ends at its next step, not inside one."""
    told = threading.Event()

    def tell(*_: Any) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
