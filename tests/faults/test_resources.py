"""A round of a few kinds of lack, and of power that goes; `make faults` has all."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults import power, resources
from tests.faults.resources import NAMES

pytestmark = pytest.mark.timeout(240)
TRIED = (
    *("redis, memory full", "qdrant, disk full", "edge, disk full", "worker, no more files"),
    "redis clock, an hour forward and back",
)
Round = Callable[[int], list[str]]


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    with resources.rounds(tmp_path_factory.mktemp("resources")) as do:
        yield do


@pytest.fixture(scope="module")
def losing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    with power.rounds(tmp_path_factory.mktemp("power")) as do:
        yield do


@pytest.mark.parametrize("kind", TRIED)
def test_what_is_lived_on_runs_out(kind: str, lacking: Round) -> None:
    said = lacking(NAMES.index(kind))
    if "skipped" in said[0]:
        pytest.skip(said[0])
    assert said[0] == kind


@pytest.mark.parametrize("seed", [5, power.HASTY_SEED])
def test_the_power_goes(seed: int, losing: Round) -> None:
    said = losing(seed)
    if said[0].startswith("skipped"):
        pytest.skip(said[0])
    assert ("as it must" in said[0]) == (seed == power.HASTY_SEED)
