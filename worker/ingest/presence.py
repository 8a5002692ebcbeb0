"""What a worker says of itself to all who ask: in the ledger."""

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Literal, NamedTuple

from schemas.worker import InHand, WorkerState
from worker.errors import WorkerError
from worker.ledger.ledger import Ledger
from worker.ledger.state import Route
from worker.ledger.workers import Backlog
from worker.patience import TRANSIENT, Patience
from worker.settings.environment import Settings
from worker.store.protocol import VectorStore
from worker.telemetry import Desk, Trace
from worker.ticker import Ticker

BEAT_S = 1.0
LOOK_S = 10.0
Phase = Literal["starting", "working", "stopping"]


class Vitals(NamedTuple):
    """What a worker saw last of the ledger and the store; None before it has."""

    backlog: Backlog | None = None
    route: Route = Route()
    collection: str | None = None
    points: int | None = None
    status: str | None = None
    is_durable: bool | None = None


class Presence:
    """A worker's state, kept in the ledger for as long as it is alive: each second while it works.

    Every ten seconds it looks at the ledger and the store besides (`vitals`): not more often, and
    not when somebody asks for them, so that a server that is away holds nobody up.
    """

    def __init__(
        self, ledger: Ledger, settings: Settings, *, queues: tuple[str, ...], patience: Patience
    ) -> None:
        self.patience = patience
        self.desk = Desk(Trace(settings.trace))
        self.alias = settings.collection
        self.phase: Phase = "starting"
        self.vitals = Vitals()
        self._has_begun = False
        self._said: WorkerState | None = None
        self._said_at = 0.0
        self._quiet_s = settings.ingest.lease_s / 4  # each word is a write to Redis's disk
        self._ledger = ledger
        self._queues = queues
        self._stalled_s = settings.metrics.stalled_s
        self._store: VectorStore | None = None
        self._idle = time.monotonic()  # when it was last seen without work
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._beats = Ticker("presence", self.beat, pause_s=BEAT_S)
        self._looks = Ticker("vitals", self.look, pause_s=LOOK_S)

    def start(self) -> None:
        """Begin to say so; nothing where it has begun."""
        if self._has_begun:
            return
        self._has_begun = True
        self.beat()
        self._beats.start()
        self._looks.start()

    def stop(self) -> None:
        """Say that it has ended; nothing where it never began."""
        self._looks.stop()
        self._beats.stop()
        with suppress(WorkerError):  # then its words run out by themselves
            self._ledger.leave(self.state().name)

    def work_on(self, store: VectorStore) -> None:
        """The store is there, and batches are taken from now on."""
        self._store = store
        self.phase = "working"
        threading.Thread(target=self.look, name="doivec-look", daemon=True).start()

    def beat(self) -> None:
        """Say how it is, where that is news, or was said a while ago.

        Who is away now is waited for by others, who say so.
        """
        state, now = self.state(), time.monotonic()
        if state == self._said and not state.in_hand and now - self._said_at < self._quiet_s:
            return
        with suppress(*TRANSIENT):
            self._ledger.present(state)
            self._said, self._said_at = state, now

    def look(self) -> None:
        """Look once at the ledger and the store; what can't be had now stays as it was seen."""
        seen = self.vitals
        with suppress(WorkerError):
            backlog, route = self._ledger.backlog(self._queues), self._ledger.route()
            seen = seen._replace(backlog=backlog, route=route)
        with suppress(WorkerError):  # not every user of a Redis may ask this
            seen = seen._replace(is_durable=self._ledger.is_durable())
        with suppress(WorkerError):
            if self._store and (live := self._store.live(self.alias)):
                points, status = self._store.count(live, exact=False), self._store.status(live)
                seen = seen._replace(collection=live, points=points, status=status)
        self.vitals = seen

    def state(self) -> WorkerState:
        """How it is now."""
        waits = "; ".join(self.patience.waits.values())
        return WorkerState(
            name=f"{self._host}:{self._pid}",
            host=self._host,
            pid=self._pid,
            phase="stopping" if self.patience.is_stopped else self.phase,
            waiting=waits,
            trouble=self.trouble(),
            in_hand=tuple(
                InHand(
                    job=work.job,
                    number=work.number,
                    records=work.records,
                    embedded=work.embedded,
                    for_s=round(work.for_s, 1),
                )
                for work in self.desk.works()
            ),
            records_per_s=round(self.desk.records_per_s(), 1),
            collection=self.vitals.collection,
            points=self.vitals.points,
        )

    def trouble(self) -> str:
        """Why it is unhealthy: it has work and has settled nothing for too long; else nothing."""
        if not self._has_work():
            self._idle = time.monotonic()
        idle_s = time.monotonic() - max(self.desk.moved, self._idle)
        if idle_s < self._stalled_s:
            return ""
        waits = "; ".join(self.patience.waits.values())
        return f"nothing has settled for {idle_s:,.0f} s" + (f": {waits}" if waits else "")

    def unready(self) -> str:
        """Why it can't work now: it begins, ends, waits, or is unhealthy; else nothing."""
        state = self.state()
        return state.trouble or state.waiting or ("" if state.phase == "working" else state.phase)

    def _has_work(self) -> bool:
        backlog = self.vitals.backlog
        return bool(self.desk.works() or (backlog and any(backlog.queues.values())))


def finishing(state: WorkerState) -> str:
    """What a worker that was told to stop has still to do, for whoever waits for it."""
    count = len(state.in_hand)
    if not count:
        return "nothing is in hand"
    left = sum(batch.records - batch.embedded for batch in state.in_hand)
    about = f" (about {left / state.records_per_s:,.0f} s)" if state.records_per_s else ""
    batches = "batch" if count == 1 else "batches"
    return (
        f"finishing {count} {batches} in hand{about}; Ctrl-C again to leave "
        f"{'it' if count == 1 else 'them'} to the next run"
    )
