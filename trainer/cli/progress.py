"""How far something is, for a person."""

from typing import Self

from worker.cli.progress import Bar


class _Shown:
    """A bar of the worker's kind."""

    def __init__(self, label: str, *, unit: str) -> None:
        self._bar = Bar(label, unit=unit)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()


class Steps(_Shown):
    """The optimizer steps of a run, with the last training loss."""

    def __init__(self, label: str) -> None:
        super().__init__(f"training {label}", unit="steps")
        self._loss = ""

    def show(self, step: int, steps: int, loss: float | None) -> None:
        """Show where the run stands; `loss` where one was logged."""
        if loss is not None:
            self._loss = f"loss {loss:.4f}"
        self._bar.show(step, steps, words=self._loss)


class Texts(_Shown):
    """The texts and queries of an evaluation."""

    def __init__(self, label: str) -> None:
        super().__init__(label, unit="texts")

    def show(self, done: int, total: int) -> None:
        """Show how many of them are done."""
        self._bar.show(done, total)
