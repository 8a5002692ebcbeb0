"""A few rounds of each part that breaks a whole deployment; `make faults` has them all."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import delivery, ghost, kills, training
from tests.faults.runner import Part, Results, SourceChanged, run, some

# How many rounds, and how many things each does at least.
PARTS = {
    "kills": (kills, 3, 4),
    "delivery": (delivery, 2, 4),
    "ghost": (ghost, 2, 4),
    "training": (training, 1, 1),
}


@pytest.mark.timeout(600)  # on a machine that others use
@pytest.mark.parametrize("name", PARTS)
def test_some_rounds(name: str) -> None:
    module, count, least = PARTS[name]
    did = some(name, Part(module.ROUNDS, module.rounds), range(count))
    assert sum(did.values()) >= least * count


@contextmanager
def easy(_: Path) -> Iterator[Callable[[int], list[str]]]:
    yield lambda seed: [f"seed {seed}"]


def test_a_run_goes_on_where_it_stopped_and_mixes_no_sources(tmp_path: Path) -> None:
    ours, theirs = (Results(tmp_path / "results", source=source) for source in ("ours", "theirs"))
    ours.note("begun", Counter(["seed 0"]), of=3, seconds=1)
    ours.note("done", Counter(["seed 0"]), of=1, seconds=1)
    parts = {"begun": Part(3, easy), "done": Part(1, easy), "new": Part(2, easy)}
    with pytest.raises(SourceChanged, match="begun: 1 of 3 rounds were of another source"):
        run(parts, theirs, until=float("inf"))
    assert [ours.done(name, of=part.count) for name, part in parts.items() if name != "new"] == [
        1,
        1,
    ]
    assert theirs.done("new", of=2) == 2
    assert run({"begun": parts["begun"]}, ours, until=float("inf"))
    assert ours.done("begun", of=3) == 3
    ours.forget("begun")
    assert not run(parts, ours, until=0)
    assert ours.done("begun", of=3) == 0
