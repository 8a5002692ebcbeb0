"""All targets, and the one function that runs a number of cases of them."""

from tests.faults.inputs import (
    answers,
    damage,
    dois,
    environment,
    files,
    messages,
    models,
    training,
)
from tests.faults.inputs.bench import fuzz_targets, spread

TARGETS = (
    *(*dois.TARGETS, *files.TARGETS, *answers.TARGETS, *models.TARGETS),
    *(*environment.TARGETS, *training.TARGETS, *messages.TARGETS, *damage.TARGETS),
)


def fuzz(cases: int, *, first: int = 0) -> dict[str, dict[str, int]]:
    """Run `cases` cases, from the `first` on: {target: {cases, accepted, refused}}.

    Raises `tests.faults.inputs.bench.Failed` where one failed.
    """
    return fuzz_targets(list(spread(TARGETS, cases, first=first)))
