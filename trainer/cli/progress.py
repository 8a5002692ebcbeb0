"""How far something is, for a person: bars on standard error."""

from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TimeRemainingColumn,
)

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
    """A bar on standard error, from the first figure on; elsewhere than on a terminal, its end."""

    def __init__(self, label: str, *columns: ProgressColumn) -> None:
        self._progress = bar(*columns)
        self._task = self._progress.add_task(label, total=None, loss="")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class Steps(_Bar):
    """The optimizer steps of a run, with the last training loss."""

    def __init__(self, label: str) -> None:
        super().__init__(f"training {label}", Words("loss"))

    def show(self, step: int, steps: int, loss: float | None) -> None:
        """Show where the run stands; `loss` where one was logged."""
        self._progress.start()
        self._progress.update(self._task, completed=step, total=steps)
        if loss is not None:
            self._progress.update(self._task, loss=f"loss {loss:.4f}")


class Texts(_Bar):
    """The texts and queries of an evaluation."""

    def show(self, done: int, total: int) -> None:
        """Show how many of them are done."""
        self._progress.start()
        self._progress.update(self._task, completed=done, total=total)
