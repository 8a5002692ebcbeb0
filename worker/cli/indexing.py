"""How far the indexing of snapshots is: a bar on a terminal, elsewhere a line now and then."""

import time
from typing import Self

from rich.progress import BarColumn, Progress, TimeRemainingColumn

from worker.cli.console import Words, err
from worker.metadata import indexing

SAY_S = 30.0
STEPS = {"reading": "reading", "merging": "merging into the index"}


class IndexProgress:
    """Shows the step, how much of it is done, the rate in records a second, and the time left.

    Without a terminal it says so in a line every `say_s`.
    """

    def __init__(self, *, say_s: float = SAY_S) -> None:
        self._say_s = say_s
        self._bar = Progress(
            Words(style="bold"), BarColumn(), Words("rate"), TimeRemainingColumn(), console=err
        )
        self._task = self._bar.add_task("", total=None, rate="")
        self._step = ""
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bar.stop()

    def show(self, now: indexing.Progress) -> None:
        """Show where it stands."""
        if now.step != self._step:
            self._step, self._began = now.step, time.monotonic()
            self._bar.reset(self._task)
        passed_s = max(1e-9, time.monotonic() - self._began)
        count = now.records if now.step == "reading" else now.done
        rate = f"{count:,} records, {count / passed_s:,.0f}/s"
        self._bar.update(
            self._task, description=STEPS[now.step], completed=now.done, total=now.total, rate=rate
        )
        if not err.is_terminal and time.monotonic() - self._said >= self._say_s:
            self._said = time.monotonic()
            err.print(f"{STEPS[now.step]}: {rate}, {_left(now, passed_s)}")


def _left(now: indexing.Progress, passed_s: float) -> str:
    if not now.done or not now.total:
        return "time left not known yet"
    left_s = passed_s * (now.total - now.done) / now.done
    return f"{now.done / now.total:.0%} done, {left_s / 60:,.0f} minutes left"
