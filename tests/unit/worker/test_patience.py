import logging
import threading
from collections.abc import Callable

import pytest

from tests.support.servers import wait_until
from worker.errors import LedgerUnavailable, Stopped, StoreRejected, StoreUnavailable
from worker.patience import AGAIN_S, Patience, Said


class Flaky:
    """Fails a number of times before it answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self, word: str) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return word


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), StoreUnavailable("away")])
def test_it_repeats_what_may_pass(error: Exception) -> None:
    flaky = Flaky(3, error)
    assert Patience(first_s=0.001, longest_s=0.002)(flaky, "answer") == "answer"
    assert flaky.calls == 4


def test_what_will_not_pass_is_raised_at_once() -> None:
    flaky = Flaky(1, StoreRejected("never"))
    with pytest.raises(StoreRejected):
        Patience(first_s=0.001)(flaky, "answer")
    assert flaky.calls == 1


def test_stopping_ends_a_long_pause_that_the_store_asked_for() -> None:
    patience = Patience(first_s=0.001)
    flaky = Flaky(10**9, StoreUnavailable("later", retry_after_s=3600.0))
    waiting = threading.Timer(0.05, patience.stop)
    waiting.start()
    with pytest.raises(Stopped):
        patience(flaky, "answer")
    assert flaky.calls == 1, "it waits as long as the store asked, not its own short pause"
    waiting.join()


def test_after_stop_nothing_waits() -> None:
    patience = Patience(first_s=60.0)
    patience.stop()
    with pytest.raises(Stopped):
        patience(Flaky(1, LedgerUnavailable("away")), "answer")


def test_what_is_waited_for_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    Patience(first_s=0.001, longest_s=0.002)(Flaky(5, LedgerUnavailable("Redis: away")), "answer")
    assert [r.getMessage() for r in caplog.records] == ["waiting, and trying again: Redis: away"]


def waits_for(told: threading.Event) -> Callable[[], bool]:
    def wait() -> bool:
        return told.wait(30.0)

    wait.__module__ = "worker.ledger.state"
    return wait


def test_a_call_that_does_not_answer_is_told_while_it_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = threading.Event()
    logger = logging.getLogger("worker.patience")
    handler = logging.Handler()
    handler.emit = lambda _: told.set()  # type: ignore[method-assign, assignment]
    logger.addHandler(handler)
    try:
        assert Patience(silence_s=0.01)(waits_for(told))
    finally:
        logger.removeHandler(handler)
    wait_until(lambda: "no answer yet from Redis" in caplog.text)  # its handler comes after ours


def test_words_that_take_turns_are_each_said_once_a_minute() -> None:
    now = [0.0]
    said = Said(clock=lambda: now[0])
    told = []
    for second in range(int(AGAIN_S) + 2):
        now[0] = float(second)
        told += [(second, words) for words in ("Redis", "Qdrant") if said.is_due(words)]
    assert told == [(0, "Redis"), (0, "Qdrant"), (60, "Redis"), (60, "Qdrant")]


def test_what_is_waited_for_is_known_while_it_lasts() -> None:
    patience, seen = Patience(first_s=0.001, longest_s=0.002), []

    def call() -> str:
        seen.append(dict(patience.waits))
        if len(seen) < 3:
            raise StoreUnavailable("Qdrant: away")
        return "answer"

    assert patience(call) == "answer"
    assert seen == [{}, {"the vector store": "Qdrant: away"}, {"the vector store": "Qdrant: away"}]
    assert patience.waits == {}
