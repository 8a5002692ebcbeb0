"""What one process at a time may do, on any machine: a lease with a heartbeat."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from worker.errors import Busy, LeaseLost, LedgerUnavailable
from worker.ledger.state import SharedState
from worker.ticker import Ticker

LOOK_S = 0.1


class Lease:
    """A lease that is held, until it is given back or runs out."""

    def __init__(self, state: SharedState, name: str, *, lease_s: float) -> None:
        self.name = name
        self.token = uuid4().hex
        self._state = state
        self._lease_s = lease_s
        self._until = 0.0  # monotonic, in seconds

    def check(self) -> None:
        """Raise `LeaseLost` where another process may have taken it."""
        if time.monotonic() >= self._until:
            raise LeaseLost(f"this process was away for too long: its lease of {self.name} ran out")

    def reroute(self, candidate: str | None) -> None:
        """See `SharedState.reroute`; raises `LeaseLost`."""
        if not self._state.reroute(candidate, lease=self.name, token=self.token):
            raise LeaseLost(f"another process has the lease of {self.name}")

    def renew(self) -> None:
        """Prolong it; one that ran out stays lost."""
        began = time.monotonic()
        if began < self._until:
            held = self._state.prolong(self.name, self.token, lease_s=self._lease_s)
            self._until = began + self._lease_s if held else 0.0

    def take(self) -> None:
        """Take it; raises `Busy` where a living process has it."""
        words = f"process {os.getpid()} on {socket.gethostname()} ({Path(sys.argv[0]).name})"
        first = None
        deadline = time.monotonic() + 2 * self._lease_s
        while True:
            self._until = time.monotonic() + self._lease_s
            holder = self._state.hold(self.name, self.token, words=words, lease_s=self._lease_s)
            if holder is None:
                return
            first = first or holder
            if holder != first or time.monotonic() > deadline:
                raise Busy(f"{holder.words} is at it: one {self.name} at a time")
            time.sleep(LOOK_S)

    def give_back(self) -> None:
        """End it; where Redis is away, it runs out by itself."""
        self._until = 0.0
        with suppress(LedgerUnavailable):
            self._state.let_go(self.name, self.token)


@contextmanager
def sole(state: SharedState, name: str, *, lease_s: float) -> Iterator[Lease]:
    """Hold what one process at a time may do, for as long as the context is open.

    Raises `Busy` at once where a living process holds it; the lease of one that died is waited
    for, `lease_s` at the most.
    """
    lease = Lease(state, name, lease_s=lease_s)
    lease.take()
    heart = Ticker(f"lease-{name}", lease.renew, pause_s=lease_s / 4)
    heart.start()
    try:
        yield lease
    finally:
        heart.stop()
        lease.give_back()
