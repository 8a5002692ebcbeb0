"""Processes side by side: what becomes of them is known to the one that leads them."""

import os
from functools import partial
from pathlib import Path

import pytest

from worker.errors import WorkerError
from worker.metadata.crew import side_by_side


def test_a_process_that_ends_is_told() -> None:
    begin = partial(os._exit, 9)
    with pytest.raises(WorkerError, match=r"exit code 9.*the same command goes on"):
        side_by_side(begin, iter([1, 2]), jobs=2, hear=print)


def test_what_a_process_cannot_do_is_raised_here(tmp_path: Path) -> None:
    begin = partial(open, tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        side_by_side(begin, iter([1]), jobs=2, hear=print)  # type: ignore[arg-type]


def test_one_is_this_process() -> None:
    heard: list[object] = []
    side_by_side(
        lambda: lambda task, say: say((task, os.getpid())), iter([1]), jobs=1, hear=heard.append
    )
    assert heard == [(1, os.getpid())]
