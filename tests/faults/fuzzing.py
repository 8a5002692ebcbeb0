"""A million fuzzed cases over everything that reads from outside; see `tests.faults.inputs`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.inputs import fuzz
from tests.faults.inputs.bench import Failed

ROUNDS = 101  # a round has some fewer
CASES_A_ROUND = 10_000


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """Some cases by their number; it tells of what each was."""

    def one(seed: int) -> list[str]:
        try:
            found = fuzz(CASES_A_ROUND, first=seed * CASES_A_ROUND)
        except Failed as error:
            raise AssertionError(str(error)) from error
        return [name for name, counts in found.items() for _ in range(counts["cases"])]

    yield one
