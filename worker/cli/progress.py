"""How far something long is: a bar on a terminal, elsewhere a line every half minute."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from rich.progress import BarColumn, Progress

from worker.cli.console import Plain, Words, err, out, shortened
from worker.telemetry import Pace
from worker.ticker import Ticker

T = TypeVar("T")
LINE_S, DRAW_S = 30.0, 0.1
LABEL_CHARACTERS = 24
MINUTE_S, HOUR_S, DAY_H = 60, 3600, 24


class Bar:
    """A bar on standard error: how much is done, of how much, how fast, and the time left.

    Without a terminal it is a line every half minute, and one at the end; where it is `brief`, the
    last one only after another, and a bar doesn't stay. `unit` is what is counted.
    """

    def __init__(
        self,
        label: str,
        *,
        unit: str = "",
        line_s: float = LINE_S,
        brief: bool = False,
        err: Plain = err,
    ) -> None:
        self._err = err
        self._unit = unit
        self._brief = brief
        self._has_spoken = False
        self._drawn = 0.0
        self._label = label
        self._pace = Pace()
        self._began = time.monotonic()
        self._first: int | None = None
        self._done = 0
        self._total: int | None = None
        self._about = False
        self._words = ""
        self._lock = threading.Lock()
        columns = (Words(style="bold"), BarColumn(bar_width=None), Words("figures"))
        self._progress = Progress(*columns, console=err, expand=True, transient=brief)
        self._task = self._progress.add_task("", total=None, figures="")
        self._lines = Ticker("progress", self._say, pause_s=line_s)

    def __enter__(self) -> Self:
        if self._err.is_terminal:
            self._progress.start()
        else:
            self._lines.start()
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(is_over=True)
        if self._err.is_terminal:
            self._progress.stop()
        self._lines.stop()
        is_worth_it = self._first is not None and (self._has_spoken or not self._brief)
        if is_worth_it and not self._err.is_terminal:
            self._say(is_over=True)

    def name(self, label: str) -> None:
        """Begin anew, under another name."""
        with self._lock:
            self._label, self._pace, self._first = label, Pace(), None
            self._began = time.monotonic()
            self._total, self._words = None, ""
        self._draw()

    def show(self, done: int, total: int | None, *, about: bool = False, words: str = "") -> None:
        """Show how many are done, of how many (`about`: by an estimate), and `words` besides."""
        with self._lock:
            if self._first in {None, done}:
                self._first, self._began = done, time.monotonic()
            self._done, self._total, self._about, self._words = done, total, about, words
            self._pace.note(done)
            is_due = time.monotonic() - self._drawn > DRAW_S
        if is_due:
            self._draw()

    def _draw(self, *, is_over: bool = False) -> None:
        with self._lock:
            self._drawn = time.monotonic()
            self._progress.update(
                self._task,
                description=shortened(self._label, LABEL_CHARACTERS),
                completed=self._done if self._first is not None else 0,
                total=self._total,
                figures=self._figures(is_over=is_over),
            )

    def _say(self, *, is_over: bool = False) -> None:
        with self._lock:
            line = f"{self._label}: {self._figures(is_over=is_over)}"
        self._has_spoken = True
        self._err.print(line)

    def _figures(self, *, is_over: bool) -> str:
        if self._first is None:
            return self._words
        done = f"{self._done:,}"
        if self._total is not None:
            about = "about " if self._about else ""
            done += f" of {about}{self._total:,}"
        per_s = self._mean() if is_over else self._pace.per_s
        parts = [f"{done} {self._unit}".rstrip(), _speed(per_s), self._words]
        if not is_over and per_s and self._total is not None and self._total > self._done:
            parts.append(f"{span((self._total - self._done) / per_s)} left")
        return ", ".join(part for part in parts if part)

    def _mean(self) -> float:
        seconds = time.monotonic() - self._began
        return (self._done - (self._first or 0)) / seconds if seconds else 0.0


def counted(
    items: Iterable[T], label: str, *, unit: str, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Items as they are taken, and how many that were so far.

    Nothing of that where a person sees the answers come, which a bar would stand between.
    """
    if out.is_terminal and err.is_terminal:
        yield from items
        return
    done = 0
    with Bar(label, unit=unit, brief=True) as bar:
        for item in items:
            yield item
            done += size(item)
            bar.show(done, None)


def span(seconds: float) -> str:
    """A time as people say it: `8 s`, `3 min`, `2 h 5 min`, `12 h`, `4 d`."""
    whole = round(seconds)
    if whole < 2 * MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    hours, minutes = divmod(whole // MINUTE_S, 60)
    if hours >= 2 * DAY_H:
        return f"{hours // DAY_H} d"
    return f"{hours} h" if hours >= 10 else f"{hours} h {minutes} min"  # noqa: PLR2004 - short


def _speed(per_s: float) -> str:
    if not per_s:
        return ""
    return f"{per_s:,.0f}/s" if per_s >= 10 else f"{per_s:,.1f}/s"  # noqa: PLR2004 - two digits
