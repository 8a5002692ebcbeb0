"""The bench of fuzzed input: DOIs, files, messages, the ledger, models, answers, settings.

A target makes a case of a `random.Random` whose seed is its name and a number, so that each case
can be had again. A case gives what was made to the reader, and checks what came of it: accepted
or refused, never another error, never without end, and nothing accepted that is wrong.
"""

import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

Case = Callable[[Random], bool]
# Of processor time: other processes may have most of the machine. Of waiting: far beyond it.
BOUND_S, WAIT_S = 10.0, 60.0
TOLD_EVERY_S = 10.0
SHOWN_FAILURES = 20
MEMORY = Path("/dev/shm")  # noqa: S108 - a disk would take most of the time


class Target(NamedTuple):
    """Something that reads from outside: `open` gives its cases, which say if it was accepted.

    `weight` is its share of all cases.
    """

    name: str
    weight: int
    open: Callable[[Path], AbstractContextManager[Case]]


class Hang(BaseException):
    """A case took longer than anything may; no parser may take it for a bad record."""


class Failed(Exception):
    """Cases failed; the message has their number, and how to run the first of them again."""


class Failures:
    """What failed, each kind told once."""

    def __init__(self) -> None:
        self.kinds: Counter[tuple[Any, ...]] = Counter()
        self.first = ""

    def add(self, target: str, number: int, error: BaseException) -> None:
        """Count a failure, and print the first of its kind."""
        trace = traceback.extract_tb(error.__traceback__)[-1]
        kind = (target, type(error).__name__, trace.filename, trace.lineno)
        self.kinds[kind] += 1
        again = f"python -m tests.faults.inputs --target {target} --first {number} --cases 1"
        self.first = self.first or again
        if self.kinds[kind] == 1 and len(self.kinds) <= SHOWN_FAILURES:
            print(f"FAILED {target} {number}: {error!r:.500}\n  {again}", flush=True)
            traceback.print_exception(error, limit=-6)

    def check(self) -> None:
        """Raise `Failed` where there was one."""
        if self.kinds:
            raise Failed(f"{self.kinds.total()} cases in {len(self.kinds)} ways; {self.first}")


def run(
    target: Target,
    numbers: range,
    failures: Failures,
    *,
    say: Callable[[str], None],
    bound_s: float = BOUND_S,
) -> dict[str, int]:
    """Run some cases of a target: how many those were, and what became of them."""
    found = {"cases": len(numbers), "accepted": 0, "refused": 0}
    with _folder() as folder, target.open(folder) as case:
        for number in numbers:
            try:
                with _bounded(bound_s):
                    is_accepted = case(Random(f"{target.name} {number}"))
                found["accepted" if is_accepted else "refused"] += 1
            except (Exception, Hang) as error:  # noqa: BLE001 - each is a finding
                failures.add(target.name, number, error)
            say(f"{target.name} {number}")
    return found


def spread(targets: Sequence[Target], cases: int, *, first: int) -> Iterator[tuple[Target, range]]:
    """The cases from the `first` on, shared out by weight: parts that follow share no case."""
    total = sum(target.weight for target in targets)
    for target in targets:
        start, stop = (n * target.weight // total for n in (first, first + cases))
        yield target, range(start, stop)


def fuzz_targets(
    shares: Sequence[tuple[Target, range]], *, bound_s: float = BOUND_S
) -> dict[str, dict[str, int]]:
    """Run targets; raises `Failed` at the end where a case did."""
    failures = Failures()
    say = Progress(sum(len(numbers) for _, numbers in shares)).say
    found = {
        target.name: run(target, numbers, failures, say=say, bound_s=bound_s)
        for target, numbers in shares
        if numbers
    }
    failures.check()
    return found


class Progress:
    """Tells how far all is, every ten seconds."""

    def __init__(self, cases: int) -> None:
        self._cases = cases
        self._done = 0
        self._began = self._told = time.monotonic()

    def say(self, words: str) -> None:
        """Count a case."""
        self._done += 1
        now = time.monotonic()
        if now - self._told >= TOLD_EVERY_S or self._done == self._cases:
            self._told = now
            rate = self._done / max(now - self._began, 1e-9)
            print(f"{self._done:,} of {self._cases:,} cases, {rate:,.0f}/s: {words}", flush=True)


@contextmanager
def _bounded(bound_s: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, bound_s)
    signal.setitimer(signal.ITIMER_REAL, WAIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _folder() -> Iterator[Path]:
    def end(*_: Any) -> None:
        raise Hang("took too much of the processor's time, or waited for too long")

    before = {number: signal.signal(number, end) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            yield Path(folder)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def table(found: Mapping[str, Mapping[str, int]]) -> str:
    """What became of the cases, a line for each target."""
    rows = [f"{'target':12} {'cases':>9} {'accepted':>9} {'refused':>9}"]
    for name, counts in found.items():
        cells = " ".join(f"{counts[key]:9,}" for key in ("cases", "accepted", "refused"))
        rows.append(f"{name:12} {cells}")
    return "\n".join(rows)


def tell_crashes() -> None:
    """Say where a crash of a library's own code happened."""
    import faulthandler  # noqa: PLC0415 - of the command alone

    faulthandler.enable(sys.stderr)
