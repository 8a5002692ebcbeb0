"""What a backfill and dual writes leave to ingest and to queries, on the same cores.

Windows follow each other, round by round: ingest alone, ingest beside a backfill, ingest beside
a backfill while workers write to both collections. In each, the same number of new DOIs is
queued, and a plain Qdrant client asks by point id all the while.
"""

import argparse
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from statistics import median, quantiles
from typing import Any

from qdrant_client import QdrantClient

from benchmarks.machine import DATA, dois, write_result
from benchmarks.pipeline import System, system
from schemas.doi import normalize, point_id
from schemas.job import JobState
from schemas.model import collection_name
from tests.support.servers import wait_until
from trainer.promotion.feed import Feed
from worker import bootstrap
from worker.bootstrap import Client
from worker.errors import Stopped
from worker.ledger.sole import sole
from worker.model.origin import BASE, resolve_source
from worker.model.registry import Registry
from worker.store.opening import open_store

MODES = ("alone", "backfill", "both")
LOOK_S = 0.02
QUERY_PAUSE_S = 0.02


@dataclass
class Window:
    """What was seen while a window's DOIs were ingested: DOIs a second, query times in ms."""

    rate: float = 0.0
    copied_rate: float = 0.0
    queries_ms: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the queries."""
        return quantiles(self.queries_ms, n=100)[98]


class Life:
    """A live collection, a second one to be filled, and what is measured on them."""

    def __init__(self, made: System, client: Client, *, target: str) -> None:
        self._client = client
        self._url = made.qdrant.url
        self.target = target
        self.source = ""
        self.stored: list[str] = []

    def ingest(self, given: list[str]) -> float:
        """Queue DOIs and wait until they have settled; returns DOIs a second."""
        began = time.perf_counter()
        job = self._client.producer.enqueue(given)
        wait_until(lambda: self._client.ledger.job(job).state is JobState.SETTLED, timeout_s=600)
        self.stored += given
        return len(given) / (time.perf_counter() - began)

    def window(self, mode: str, given: list[str]) -> Window:
        """Ingest in one of `MODES`."""
        seen = Window()
        with sole(self._client.ledger, "promotion", lease_s=20.0) as lease:
            lease.reroute(self.target if mode == "both" else None)
            with self._backfill(seen) if mode != "alone" else _nothing(), self._queries(seen):
                seen.rate = self.ingest(given)
            lease.reroute(None)
        return seen

    @contextmanager
    def _backfill(self, seen: Window) -> Iterator[None]:
        """A backfill that never ends: what is there already is dropped first."""
        stop = threading.Event()
        counts = [0]

        def check() -> None:
            if stop.is_set():
                raise Stopped("the window is over")

        feed = Feed(self._client.ledger, patience=self._client.patience, check=check)

        def run() -> None:
            try:
                feed.copy(
                    cycle(list(self.stored)),
                    source=self.source,
                    target=self.target,
                    settled=lambda job: counts.__setitem__(0, job.settled),
                )
            except Stopped:
                feed.drop_leftovers()

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: counts[0] > 0, timeout_s=120)
        began, first = time.perf_counter(), counts[0]
        try:
            yield
        finally:
            seen.copied_rate = (counts[0] - first) / (time.perf_counter() - began)
            stop.set()
            thread.join()
            ledger = self._client.ledger
            wait_until(lambda: ledger.outstanding(backfill=True) == 0, timeout_s=120)

    @contextmanager
    def _queries(self, seen: Window) -> Iterator[None]:
        stop = threading.Event()
        ids = cycle([point_id(normalize(doi)) for doi in self.stored])

        def run() -> None:
            client = QdrantClient(self._url, trust_env=False, check_compatibility=False)
            while not stop.wait(QUERY_PAUSE_S):
                began = time.perf_counter()
                client.query_points("dois", query=next(ids), limit=10)
                seen.queries_ms.append(1000 * (time.perf_counter() - began))
            client.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def measure(*, stored: int, window: int, rounds: int) -> dict[str, Any]:
    """All modes, so many rounds; `stored` DOIs are there at the start."""
    windows: dict[str, list[Window]] = {mode: [] for mode in MODES}
    fresh = iter(dois(stored + window * rounds * (len(MODES) + 1)))
    with system(pinned=False) as made, bootstrap.connect(made.settings) as client:
        registry = Registry(made.settings.data_dir / "models")
        templates = ("doi {doi}",)
        second = registry.register(resolve_source(BASE), name="second", templates=templates)
        life = Life(made, client, target=collection_name("dois", second.version))
        store = open_store(made.settings.qdrant, data_dir=made.settings.data_dir)
        life.source = str(store.live("dois"))
        life.ingest([next(fresh) for _ in range(stored)])
        for number in range(rounds):
            for mode in MODES[number % 3 :] + MODES[: number % 3]:
                store.drop(life.target)
                store.create(life.target, dimension=second.dimension)
                windows[mode].append(life.window(mode, [next(fresh) for _ in range(window)]))
                print(mode, number, round(windows[mode][-1].rate), flush=True)
        store.close()
    return summary(windows) | {"stored": stored, "window": window, "rounds": rounds}


def summary(windows: dict[str, list[Window]]) -> dict[str, Any]:
    """Rates, and ratios round by round to ingest alone."""
    alone = windows["alone"]
    found: dict[str, Any] = {}
    for mode, rows in windows.items():
        rates = [one.rate / other.rate for one, other in zip(rows, alone, strict=True)]
        tails = [one.p99_ms / other.p99_ms for one, other in zip(rows, alone, strict=True)]
        found[mode] = {
            "rate": _spread([row.rate for row in rows]),
            "rate_ratio": _spread(rates),
            "copied_rate": _spread([row.copied_rate for row in rows]),
            "p99_ms": _spread([row.p99_ms for row in rows]),
            "p99_ratio": _spread(tails),
            "queries": sum(len(row.queries_ms) for row in rows),
        }
    return found


def _spread(values: list[float]) -> dict[str, float]:
    return {
        name: round(value, 3)
        for name, value in (
            ("median", median(values)),
            ("low", min(values)),
            ("high", max(values)),
        )
    }


def main() -> None:
    """Measure, and write `results/life.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stored", type=int, default=10_000)
    parser.add_argument("--window", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = measure(stored=options.stored, window=options.window, rounds=options.rounds)
    write_result("life", {"shared_data": DATA.exists(), **result})
    print(json.dumps({mode: result[mode]["rate_ratio"] for mode in MODES}))


if __name__ == "__main__":
    main()
