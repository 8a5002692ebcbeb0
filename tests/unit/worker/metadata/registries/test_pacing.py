"""The limits that answers name."""

import pytest

from worker.metadata.registries.pacing import Limit, told

BEFORE = Limit(1, 1.0, at_once=1)


def named(
    limit: str | None = None, interval: str | None = None, at_once: str | None = None
) -> Limit:
    values = {
        "x-rate-limit-limit": limit,
        "x-rate-limit-interval": interval,
        "x-concurrency-limit": at_once,
    }
    headers = {name: value for name, value in values.items() if value is not None}
    return told(headers, BEFORE, threads=3)


@pytest.mark.parametrize(
    ("interval", "seconds"), [("1s", 1.0), ("1", 1.0), ("500ms", 0.5), ("5m", 300.0), ("1h", 3600)]
)
def test_a_limit_is_taken_as_it_is_named(interval: str, seconds: float) -> None:
    assert named("10", interval, "3") == Limit(10, seconds, at_once=3)


@pytest.mark.parametrize("limit", [None, "", "0", "-1", "ten", "1, 1", "1.5", "9" * 30, "\u0661"])
def test_a_limit_that_can_t_be_read_leaves_the_one_before(limit: str | None) -> None:
    assert named(limit, "1s") == BEFORE
    assert named(at_once=limit) == BEFORE


@pytest.mark.parametrize("interval", [None, "", "0s", "-1s", "1d", "s", "9999999h", "1 s"])
def test_nor_is_an_interval_guessed(interval: str | None) -> None:
    assert named("10", interval) == BEFORE


def test_no_answer_makes_it_ask_without_measure() -> None:
    assert named("1000000", "1s", "500") == Limit(150, 1.0, at_once=3)
    assert named("1000000", "1ms") == Limit(1, 0.001, at_once=1)
