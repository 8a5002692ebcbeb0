"""Being told to stop, by a signal."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether the process was told to stop: the run then ends at its next step, not inside one.

    The same signal a second time does what it did before: it ends the process at once.
    """
    told = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def tell(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        told.set()
        with suppress(OSError):  # nobody reads it any more
            os.write(2, b"\nstopping at the next step; Ctrl-C again ends at once\n")

    for number in before:
        signal.signal(number, tell)
    try:
        yield told.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
