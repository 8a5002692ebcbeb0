"""The bench is proven: bugs planted into a copy of doivec, one at a time, must all be caught."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT
from tests.support.servers import qdrant_binary

PATCHES = Path(__file__).with_name("planted")
TREE = ("doivec", "schemas", "worker", "trainer", "benchmarks", "tests", "examples")
TIMEOUT_S = 900.0
BROKEN = 1  # the exit code of a bench that caught something


class Bug(NamedTuple):
    """A patch, and the part of the bench that must catch it with one of some seeds."""

    name: str
    part: str
    seeds: str


BUGS = (
    Bug("acknowledge-before-the-upsert", "kills", "0-9"),
    Bug("wait-false", "kills", "0-9"),
    Bug("random-ids", "delivery", "0-0"),
    Bug("settle-twice", "walks", "0-4"),
    Bug("write-through-the-alias", "promotion", "0-9"),
    Bug("move-the-alias-first", "promotion", "0-9"),
    # Where the promoter itself is killed (before 9) the next one copies what was forgotten.
    Bug("forget-the-candidate-for-replays", "promotion", "14-16"),
    Bug("skip-by-id-alone", "delivery", "0-1"),
    Bug("no-sweep", "kills", "0-9"),
    Bug("drop-the-last-batch", "delivery", "0-0"),
    Bug("normalize-otherwise-in-queries", "delivery", "0-0"),
)
ROUNDS = len(BUGS)


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """Plant the bug of a number; it tells which one was caught, and by what."""
    yield lambda number: [caught(BUGS[number], folder / BUGS[number].name)]


def caught(bug: Bug, folder: Path) -> str:
    """Plant a bug into a copy, and see it caught; raises AssertionError where it isn't."""
    plant(bug, folder)
    words = [sys.executable, "-P", "-m", "tests.faults", bug.part, "--seeds", bug.seeds]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "TEST_QDRANT": str(qdrant_binary())},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    reason = done.stderr.partition("broken: ")[2]
    assert done.returncode == BROKEN, f"{bug.name} was not caught\n{done.stdout}\n{done.stderr}"
    assert reason, f"{bug.name} broke the bench itself\n{done.stderr}"
    print(f"{bug.name}: {reason[:300]}", flush=True)
    return f"{bug.name}, by {bug.part}"


def plant(bug: Bug, folder: Path) -> None:
    """A copy of doivec with the bug in it."""
    for name in TREE:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
    (folder / "benchmarks" / "results").mkdir()
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(PATCHES / f"{bug.name}.patch")],
        cwd=folder,
        check=True,
    )
