"""Kills of every kind of process, at random moments and at every named step, by seed.

In a round lists are queued, records are deleted, and what lacks a title is looked up; meanwhile
one process after the other is killed (SIGKILL): a worker, Redis, Qdrant, a producer or the
resolver. Who was killed is started again; at the end everything must be as if nothing had been.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import bench
from tests.faults.bench import DOIS, Bench
from tests.faults.children import STEPS, Child, Point

ROUNDS = 205
KILLS_A_ROUND = 4
SERVERS = ("redis", "qdrant")
POINTS = [
    Point(program, step, when)
    for program, steps in STEPS.items()
    for step in steps
    for when in ("before", "after")
]
AT_A_POINT = 0.6  # so many of the kills come at a named step, the others at a random moment
LONGEST_DELAY_S = 1.0
TRAP_S = 2.0


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """One round by its seed; it tells who were killed, and where."""
    with bench.opened(folder) as made:
        kills = Kills(made)
        yield kills.round


class Kills:
    """Rounds on one deployment."""

    def __init__(self, made: Bench) -> None:
        self._bench = made

    def round(self, seed: int) -> list[str]:
        """Kill a few times; raises AssertionError where something is not as it must be."""
        chosen = random.Random(f"kills {seed}")
        queued: list[tuple[Path, Child]] = []
        self._bench.delete(chosen.sample(DOIS, 24))
        resolver = self._bench.start("resolver", "metadata", "resolve")
        struck = []
        for number in range(KILLS_A_ROUND):
            point = None
            if chosen.random() < AT_A_POINT:
                point = POINTS[(seed * KILLS_A_ROUND + number) % len(POINTS)]
                if point.program == "resolver":  # one at a time
                    self._bench.resolved(resolver)
                self._bench.trap.set(point)
            path = self._bench.draw(chosen, name=f"{seed}-{number}.jsonl")
            producer = self._bench.start("producer", "queue", str(path))
            queued.append((path, producer))
            if point and point.program == "resolver":
                resolver = self._bench.start("resolver", "metadata", "resolve")
            struck.append(self._strike(point, chosen, resolver=resolver, producer=producer))
        self._bench.delete(chosen.sample(DOIS, 4))
        for path, child in queued:
            self._bench.queued(path, child)
        self._bench.resolved(resolver)
        self._bench.check()
        if seed % 10 == 9:  # what came since the last look-up has no title yet
            self._bench.resolved()
            self._bench.check()
            self._bench.check_titles()
        return struck

    def _strike(
        self, point: Point | None, chosen: random.Random, *, resolver: Child, producer: Child
    ) -> str:
        """Kill at the point, where somebody comes there, else at a random moment."""
        program = point.program if point else chosen.choice(list(STEPS))
        victim = chosen.choice((program, program, *SERVERS))
        pid = self._wait_for_trap() if point else None
        if pid is None:
            time.sleep(chosen.uniform(0, 0.1 if point else LONGEST_DELAY_S))  # the seed's moment
        if victim in SERVERS:
            server = getattr(self._bench, victim)
            server.kill()
            self._bench.trap.clear()
            server.start()
        else:
            children = {"resolver": resolver, "producer": producer}
            self._kill(victim, pid, chosen, children)
            self._bench.trap.clear()
        return f"{victim}, {point}" if pid else f"{victim}, at a random moment"

    def _wait_for_trap(self) -> int | None:
        deadline = time.monotonic() + TRAP_S
        while time.monotonic() < deadline:
            if pid := self._bench.trap.sprung():
                return pid
            time.sleep(0.01)
        return None

    def _kill(
        self, victim: str, pid: int | None, chosen: random.Random, children: dict[str, Child]
    ) -> None:
        """Kill the process that stands at the point, else one of the victim's program."""
        workers = self._bench.workers
        if victim == "worker":
            standing = [worker for worker in workers if worker.process.pid == pid]
            self._bench.replace(standing[0] if standing else chosen.choice(workers))
        elif pid is not None:
            os.kill(pid, signal.SIGKILL)
        else:
            children[victim].kill()
