"""Whose turn it is at the device, by an exact account of the time: no clock is waited for."""

import threading

import pytest

from tests.support.servers import wait_until
from worker.ingest.turns import Turns


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def simulate(share: float, *, ingest_s: float, backfill_s: float, total_s: float) -> float:
    """The backfill's part of the time while both want the device all the time."""
    clock = Clock()
    turns = Turns(share=share, clock=clock)
    spent = {False: 0.0, True: 0.0}
    stop = threading.Event()

    def want(*, backfill: bool) -> None:
        while not stop.is_set():
            with turns.taken(backfill=backfill):
                # Until the other one waits too: it is the contended case that is looked at.
                wait_until(lambda: turns.waiting(backfill=not backfill) > 0 or stop.is_set())
                cost_s = backfill_s if backfill else ingest_s
                clock.now_s += cost_s
                spent[backfill] += cost_s
                if clock.now_s >= total_s:
                    stop.set()

    threads = [threading.Thread(target=want, kwargs={"backfill": b}) for b in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return spent[True] / (spent[True] + spent[False])


@pytest.mark.parametrize(("ingest_s", "backfill_s"), [(1.7, 0.2), (0.01, 0.2), (0.5, 2.0)])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_backfill_gets_its_share_and_no_more(
    share: float, ingest_s: float, backfill_s: float
) -> None:
    part = simulate(share, ingest_s=ingest_s, backfill_s=backfill_s, total_s=60.0)
    assert part == pytest.approx(share, abs=0.06)


def test_who_is_alone_has_the_device() -> None:
    turns = Turns(share=0.2)
    for _ in range(3):
        with turns.taken(backfill=True):
            pass
    for _ in range(3):
        with turns.taken(backfill=False):
            pass


def test_what_was_long_ago_is_forgotten() -> None:
    clock = Clock()
    turns = Turns(share=0.2, clock=clock)
    with turns.taken(backfill=True):
        clock.now_s += 3600.0  # alone, nobody else wanted it
    for _ in range(11):
        with turns.taken(backfill=False):
            clock.now_s += 3.0
    done = threading.Event()

    def copy() -> None:
        with turns.taken(backfill=True):
            done.set()

    with turns.taken(backfill=False):
        waiters = [threading.Thread(target=copy)]
        waiters[0].start()
        wait_until(lambda: turns.waiting(backfill=True) == 1)
    wait_until(done.is_set)
    waiters[0].join()
