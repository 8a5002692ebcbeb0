"""What every worker looks after now and then: lost batches, lost messages, late writes."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress

from worker import metrics
from worker.errors import CollectionMissing
from worker.ingest.rows import delete_buried
from worker.ledger.ledger import GONE, Ledger
from worker.store.protocol import VectorStore
from worker.ticker import Ticker

TOMBSTONES_A_SWEEP = 4096
log = logging.getLogger(__name__)


class Sweeper:
    """Queues lost batches again and removes what came back after its deletion.

    Every worker sweeps, one at a time (a lock in the ledger); no beat is needed. `send` queues
    a batch; `restore` gives back to the queues what dead workers had taken from them.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: VectorStore,
        *,
        alias: str,
        queue: str,
        send: Callable[[str, int], None],
        restore: Callable[[], None],
        pause_s: float,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._alias = alias
        self._queue = queue
        self._send = send
        self._restore = restore
        self._offset = 0
        self._ticker = Ticker("sweep", self.sweep, pause_s=pause_s)

    def start(self) -> None:
        """Begin to sweep."""
        self._ticker.start()

    def stop(self) -> None:
        """End, after the sweep under way."""
        self._ticker.stop()

    def sweep(self) -> None:
        """One sweep; nothing where another worker is at it."""
        with self._ledger.sweeping() as mine:
            if mine:
                metrics.SWEEPS.inc()
                # Each, whatever comes of the others: what is damaged may stop one of them.
                with ExitStack() as steps:
                    steps.callback(self._delete_again)
                    steps.callback(self._end_abandoned)
                    steps.callback(self._restore)
                    steps.callback(self._requeue)

    def _requeue(self) -> None:
        queue_is_empty = self._ledger.queue_length(self._queue) == 0
        for job, number in self._ledger.lost(queue_is_empty=queue_is_empty):
            log.warning("batch %s:%d was lost; queueing it again", job, number)
            metrics.REQUEUED.inc()
            self._send(job, number)

    def _end_abandoned(self) -> None:
        for job in self._ledger.abandoned():
            log.warning("job %s: %s", job, GONE)
        self._ledger.tidy()

    def _delete_again(self) -> None:
        # The newest ones every time, since late writes of what was just deleted are the likely
        # ones; of the others another page each time.
        newest = self._ledger.tombstones(0, TOMBSTONES_A_SWEEP)
        if len(newest) < TOMBSTONES_A_SWEEP:
            self._offset = 0
            page = newest
        else:
            self._offset += TOMBSTONES_A_SWEEP
            older = self._ledger.tombstones(self._offset, TOMBSTONES_A_SWEEP)
            self._offset = self._offset if older else 0
            page = {**newest, **older}
        for collection in self._store.collections(self._alias) if page else ():
            with suppress(CollectionMissing):  # pruned just now
                self._delete_from(collection, page)

    def _delete_from(self, collection: str, tombstones: dict[str, int]) -> None:
        there = self._store.read(collection, list(tombstones))
        came_back = {i: tombstones[i] for i, s in there.items() if s.sequence < tombstones[i]}
        delete_buried(self._store, collection, came_back)
