"""The full run: parts of so many rounds, each by its seed; it goes on where it stopped."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.machine import describe

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "faults.json"
ROUNDS_A_BENCH = 100  # then a new one, so that what a round costs stays the same
SHOWN = 5
Round = Callable[[int], list[str]]


class Part(NamedTuple):
    """What is tried: `rounds` opens a bench below a folder, and gives what tries a seed there.

    A round tells what it did, each thing in words; it raises AssertionError where a promise is
    broken.
    """

    count: int
    rounds: Callable[[Path], AbstractContextManager[Round]]


class Results:
    """What was tried so far, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def done(self, part: str) -> int:
        """How many rounds of a part have been, from the first seed on."""
        return int(self._found.get(part, {}).get("rounds", 0))

    def note(self, part: str, counts: Counter[str], *, of: int, seconds: float) -> None:
        """Keep what one more round `of` so many did."""
        known = self._found.get(part, {})
        counted = Counter(known.get("counts", {})) + counts
        self._found[part] = {
            "rounds": known.get("rounds", 0) + 1,
            "of": of,
            "minutes": round(known.get("minutes", 0) + seconds / 60, 1),
            "counts": dict(sorted(counted.items())),
            "machine": describe(),
        }
        self._path.write_text(json.dumps(dict(sorted(self._found.items())), indent=1) + "\n")

    def forget(self, part: str) -> None:
        """Begin a part anew."""
        self._found.pop(part, None)


def run(parts: Mapping[str, Part], results: Results, *, until: float) -> bool:
    """Try all that has not been tried; False where the time was over before (`until`, monotonic).

    A broken promise raises AssertionError, with how to see it again.
    """
    for name, part in parts.items():
        while (first := results.done(name)) < part.count:
            if time.monotonic() > until:
                return False
            last = min(first + ROUNDS_A_BENCH, part.count)
            _some(name, part, range(first, last), results=results, until=until)
    return True


def some(name: str, part: Part, seeds: range) -> Counter[str]:
    """Try some seeds of a part, whatever was tried before; what was done how often."""
    return _some(name, part, seeds, results=None, until=float("inf"))


def _some(
    name: str, part: Part, seeds: range, *, results: Results | None, until: float
) -> Counter[str]:
    did = Counter[str]()
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, part.rounds(Path(folder)) as do:
        for seed in seeds:
            if time.monotonic() > until:
                break
            began = time.monotonic()
            try:
                what = do(seed)
            except AssertionError as error:
                again = f"python -m tests.faults {name} --seeds {seed}-{seed}"
                raise AssertionError(f"{name}, seed {seed}: {error}\nagain: {again}") from error
            seconds = time.monotonic() - began
            did.update(what)
            print(f"{name} {seed}: {'; '.join(what[:SHOWN])} ({seconds:.1f} s)", flush=True)
            if results:
                results.note(name, Counter(what), of=part.count, seconds=seconds)
    return did
