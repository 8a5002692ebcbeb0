"""How far the indexing of snapshots is: a bar for reading, and one for the merge."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from worker.cli.progress import LINE_S, Bar
from worker.telemetry import Pace

if TYPE_CHECKING:
    from worker.metadata.indexing import Progress

STEPS = {"reading": ("reading", "MiB"), "merging": ("merging into the index", "records")}
MIB = 2**20


class IndexProgress:
    """Shows the step, how much of it is done, how fast, and the time left."""

    def __init__(self, *, line_s: float = LINE_S) -> None:
        self._line_s = line_s
        self._stack = ExitStack()
        self._step = ""
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, now: "Progress") -> None:
        """Show where it stands."""
        if now.step != self._step:
            self._stack.close()
            label, unit = STEPS[now.step]
            self._bar = self._stack.enter_context(Bar(label, unit=unit, line_s=self._line_s))
            self._step = now.step
        if now.step == "merging":
            self._bar.show(now.done, now.total)
            return
        self._pace.note(now.records)
        words = f"{now.records:,} records, {self._pace.per_s or 0:,.0f}/s"
        self._bar.show(now.done // MIB, now.total // MIB, words=words)
