"""The full run: parts of so many rounds, each by its seed; it goes on where it stopped."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.machine import ROOT, describe
from worker.files import write_text

RESULTS = ROOT / "benchmarks" / "results" / "faults"
# What a result is of.
TRIED = ("doivec", "schemas", "worker", "trainer", "tests/faults", "tests/support")
KINDS = {".py", ".lua", ".toml", ".patch", ".c"}
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


class SourceChanged(Exception):
    """Some rounds of a part were of another source than the present one."""


class Results:
    """What was tried so far, in a folder: a file for each part, all of one source."""

    def __init__(self, folder: Path, *, source: str) -> None:
        self._folder = folder
        self._source = source

    def done(self, part: str, *, of: int) -> int:
        """How many of a part's rounds have been, from the first seed on.

        Raises `SourceChanged` where those were of another source, and some are left.
        """
        known = self._known(part)
        rounds = int(known.get("rounds", 0))
        if rounds and rounds < of and known["source"] != self._source:
            raise SourceChanged(
                f"{part}: {rounds} of {of} rounds were of another source, that of commit "
                f"{known['machine']['commit']}; python -m tests.faults {part} --anew starts again"
            )
        return rounds

    def note(self, part: str, counts: Counter[str], *, of: int, seconds: float) -> None:
        """Keep what one more round `of` so many did."""
        known = self._known(part)
        counted = Counter(known.get("counts", {})) + counts
        found = {
            "rounds": known.get("rounds", 0) + 1,
            "of": of,
            "seconds": round(known.get("seconds", 0) + seconds, 1),
            "source": self._source,
            "counts": dict(sorted(counted.items())),
            "machine": describe(),
        }
        self._folder.mkdir(exist_ok=True)
        write_text(self._folder / f"{part}.json", json.dumps(found, indent=1) + "\n")

    def forget(self, part: str) -> None:
        """Begin a part anew."""
        (self._folder / f"{part}.json").unlink(missing_ok=True)

    def _known(self, part: str) -> dict[str, Any]:
        path = self._folder / f"{part}.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return known


def source() -> str:
    """The digest of the files that are tried, of those that try them, and of the packages' pins."""
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    for name in TRIED:
        for path in sorted((ROOT / name).rglob("*")):
            if path.suffix in KINDS:
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def run(parts: Mapping[str, Part], results: Results, *, until: float) -> bool:
    """Try all that has not been tried; False where the time was over before (`until`, monotonic).

    A broken promise raises AssertionError, with how to see it again; parts of another source are
    left out, and `SourceChanged` is raised in the end.
    """
    changed = []
    for name, part in parts.items():
        try:
            while (first := results.done(name, of=part.count)) < part.count:
                if time.monotonic() > until:
                    return False
                last = min(first + ROUNDS_A_BENCH, part.count)
                _some(name, part, range(first, last), results=results, until=until)
        except SourceChanged as error:
            changed.append(str(error))
    if changed:
        raise SourceChanged("\n".join(changed))
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
