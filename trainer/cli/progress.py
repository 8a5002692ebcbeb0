"""How far something is, for a person: a bar on a terminal, elsewhere a line now and then."""

from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TimeRemainingColumn,
)

from trainer.pace import Pace
from worker.cli.console import Words, err


def bar(*columns: ProgressColumn, transient: bool = False) -> Progress:
    """A bar that has not begun: what it is of, how much of it is done, `columns`, the time left."""
    return Progress(
        Words(style="bold"),
        BarColumn(),
        MofNCompleteColumn(),
        *columns,
        TimeRemainingColumn(),
        console=err,
        transient=transient,
    )


class _Bar:
    """A bar on standard error, from the first figure on; without a terminal, lines."""

    def __init__(self, label: str, *columns: ProgressColumn) -> None:
        self._progress = bar(*columns)
        self._task = self._progress.add_task(label, total=None, loss="")
        self._pace = None if err.is_terminal else Pace(label, err.print)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int, loss: float | None = None) -> None:
        """Show that `done` of `total` are done; `loss` where one is known anew."""
        if self._pace:
            self._pace.show(done, total, loss)
            return
        self._progress.start()
        self._progress.update(self._task, completed=done, total=total)
        if loss is not None:
            self._progress.update(self._task, loss=f"loss {loss:.4f}")


class Steps(_Bar):
    """The optimizer steps of a run, with the last training loss."""

    def __init__(self, label: str) -> None:
        super().__init__(f"training {label}", Words("loss"))


class Texts(_Bar):
    """The texts and queries of an evaluation, or the records of a promotion."""
