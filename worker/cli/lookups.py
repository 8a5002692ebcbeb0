"""How far the looking up is: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from rich.progress import BarColumn, Progress, TimeRemainingColumn

from worker.cli.console import Words, err
from worker.metadata.resolver import Resolver

T = TypeVar("T")
SAY_S = 30.0


class Shown(Iterable[T]):
    """Items, as often as they are read; before each `show` is called."""

    def __init__(self, items: Iterable[T], show: Callable[[], None]) -> None:
        self._items = items
        self._show = show

    def __iter__(self) -> Iterator[T]:
        for item in self._items:
            self._show()
            yield item


class LookupProgress:
    """Shows how many DOIs are looked up, what was found, and who is left alone until when."""

    def __init__(self, resolver: Resolver, total: int) -> None:
        self._resolver = resolver
        self._total = total
        self._bar = Progress(
            Words(style="bold"), BarColumn(), Words("words"), TimeRemainingColumn(), console=err
        )
        self._task = self._bar.add_task("looking up", total=total, words="")
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if err.is_terminal and self._total:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def through(self, dois: Iterable[T]) -> Iterable[T]:
        """The DOIs, as often as they are read, with progress shown as they are taken."""
        return Shown(dois, self.show)

    def show(self) -> None:
        """Show where it stands."""
        done = self._resolver.tally
        words = f"{done['looked_up']:,} of {self._total:,}, found {done['found']:,}"
        if resting := self._resolver.resting_now():
            words += f"; {', '.join(resting)} left alone"
        self._bar.update(self._task, completed=done["looked_up"], words=words)
        if not err.is_terminal and time.monotonic() - self._said >= SAY_S:
            self._said = time.monotonic()
            err.print(f"looked up {words}", markup=False)
