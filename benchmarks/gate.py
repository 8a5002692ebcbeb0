"""A year of weekly refines before the gate: how often it promotes what is no better, and the loss.

`python -m benchmarks.gate` writes `benchmarks/results/gate.json`; two minutes of one core, nothing
is needed. A model is its nDCG in each held-out group: a level that is true of it, and chance, which
differs from model to model. Two models differ in three groups of ten, with a standard deviation of
0.1 over all of them (so do the base model and recipe `title` on the project's pairs). Every week a
challenger, worse than the first champion by a fixed amount, meets whoever is champion by then; the
gate's own interval decides, without its guards, which could only refuse more. `renewed` has fresh
groups every 13 weeks; `frozen` has the same ones all year.
"""

from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine
from trainer.evaluation.metrics import Floats, mean_of_groups

GROUPS, WEEKS, YEARS, QUARTER = 300, 52, 400, 13
SPREAD, TOUCHED = 0.1, 0.3  # of the difference of two models
WORSE = (0.0, 0.002, 0.004, 0.006, 0.01)
SURELY_NOT = 1.5  # standard errors: below, no interval lies above zero; spares most bootstraps


class Year(NamedTuple):
    """What became of a year: promotions, what the last champion lost, how much luck it showed."""

    promotions: int
    lost: float
    luck: float


class Model:
    """A model's chance in each group of the set in force, and what is true of it."""

    def __init__(self, generator: np.random.Generator, *, level: float) -> None:
        self.level = level
        self._generator = generator
        self.renew()

    def renew(self) -> None:
        """Meet fresh groups."""
        # Of two such models a group differs where either is touched.
        touched = self._generator.random(GROUPS) < 1 - np.sqrt(1 - TOUCHED)
        size = SPREAD / np.sqrt(2 * (1 - np.sqrt(1 - TOUCHED)))
        self.values: Floats = self.level + touched * self._generator.normal(0, size, GROUPS)


def main() -> None:
    """Simulate, print and write the results."""
    ways = {"frozen": WEEKS, "renewed": QUARTER}
    results = {
        name: {f"worse by {worse:g}": summary(worse, every=every) for worse in WORSE}
        for name, every in ways.items()
    }
    settings = {"groups": GROUPS, "weeks": WEEKS, "years": YEARS, "renewed_every_weeks": QUARTER}
    machine.write_result("gate", {"settings": settings, **results})


def summary(worse: float, *, every: int) -> dict[str, Any]:
    """Many years with challengers that are worse by so much, on sets renewed so often."""
    generator = np.random.default_rng(round(1e6 * worse) + every)
    years = [year(generator, worse=worse, every=every) for _ in range(YEARS)]
    return {
        "years_with_a_promotion": float(np.mean([one.promotions > 0 for one in years])),
        "promotions_a_year": float(np.mean([one.promotions for one in years])),
        "mean_loss": round(float(np.mean([one.lost for one in years])), 5),
        "largest_loss": max(one.lost for one in years),
        "mean_luck": round(float(np.mean([one.luck for one in years])), 4),
    }


def year(generator: np.random.Generator, *, worse: float, every: int) -> Year:
    """Weekly challengers; `every` so many weeks the set is renewed."""
    champion, promotions = Model(generator, level=0.0), 0
    for week in range(WEEKS):
        if week and week % every == 0:
            champion.renew()
        challenger = Model(generator, level=-worse)
        if is_promoted(challenger.values - champion.values):
            champion, promotions = challenger, promotions + 1
    luck = float(champion.values.mean()) - champion.level
    return Year(promotions, -champion.level, luck)


def is_promoted(differences: Floats) -> bool:
    """Whether the gate's interval of the mean difference lies above zero."""
    error = differences.std() / np.sqrt(len(differences))
    if differences.mean() < SURELY_NOT * error:
        return False
    return mean_of_groups(differences, groups=np.arange(len(differences))).low > 0


if __name__ == "__main__":
    main()
