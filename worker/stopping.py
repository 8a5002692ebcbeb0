"""How Celery's workers are told to stop: once in good order, twice at once."""

import logging
import os
import signal
from contextlib import suppress
from typing import Any, NoReturn

from celery import bootsteps, signals
from celery.worker import state


class Stopping(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Takes the place of Celery's handlers of signals, just after those were installed.

    Theirs write to the standard output before they take note: where nobody reads that any more,
    the worker can't be stopped. And what they do at the second Ctrl-C the threads pool can't.
    """

    def start(self, worker: Any) -> None:
        """Install the handlers, in the main thread, before messages are taken."""

        def once(number: int, _frame: object) -> None:
            if state.should_stop is not None:
                if number == signal.SIGINT:
                    _at_once(number)
                return
            state.should_stop = 0 if number == signal.SIGTERM else 128 + number
            name = signal.Signals(number).name
            answers = signals.worker_shutting_down.send(
                sender=worker.hostname, sig=name, how="Warm", exitcode=state.should_stop
            )
            told = [words for _, words in answers if isinstance(words, str)]
            what = "; ".join(told) or "finishing what is in hand; Ctrl-C again ends at once"
            _say(f"{name}: shutdown: {what}")

        signal.signal(signal.SIGTERM, once)
        signal.signal(signal.SIGINT, once)
        signal.signal(signal.SIGQUIT, _at_once)


def _at_once(number: int, _frame: object = None) -> NoReturn:
    _say("ended at once; what was in hand is done again by the next worker")
    os._exit(128 + number)


def _say(words: str) -> None:
    """Log a line past the log's locks, which whatever was interrupted may hold."""
    record = logging.LogRecord(__name__, logging.WARNING, "", 0, words, (), None)
    handlers = logging.getLogger().handlers
    line = handlers[0].format(record) if handlers else words
    with suppress(OSError):  # nobody reads it any more
        os.write(2, f"{line}\n".encode())
