"""What every worker looks after now and then: lost batches, lost messages, late writes."""

import logging
import threading
from collections.abc import Callable

from worker.ingest import delete_buried
from worker.ledger import Ledger
from worker.patience import TRANSIENT
from worker.store.protocol import VectorStore

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
        collection: str,
        queue: str,
        send: Callable[[str, int], None],
        restore: Callable[[], None],
        pause_s: float,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._collection = collection
        self._queue = queue
        self._send = send
        self._restore = restore
        self._pause_s = pause_s
        self._offset = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="doivec-sweep", daemon=True)

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the sweep under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def sweep(self) -> None:
        """One sweep; nothing where another worker is at it."""
        with self._ledger.sweeping() as mine:
            if mine:
                self._requeue()
                self._restore()
                self._delete_again()

    def _loop(self) -> None:
        while not self._stop.wait(self._pause_s):
            try:
                self.sweep()
            except TRANSIENT as error:
                log.warning("no sweep: %s", error)
            except Exception:  # whatever it is, the next sweep must come
                log.exception("the sweep failed")

    def _requeue(self) -> None:
        queue_is_empty = self._ledger.queue_length(self._queue) == 0
        for job, number in self._ledger.lost(queue_is_empty=queue_is_empty):
            log.warning("batch %s:%d was lost; queueing it again", job, number)
            self._send(job, number)

    def _delete_again(self) -> None:
        page = self._ledger.tombstones(self._offset, TOMBSTONES_A_SWEEP)
        self._offset = self._offset + len(page) if len(page) == TOMBSTONES_A_SWEEP else 0
        there = self._store.read(self._collection, list(page)) if page else {}
        came_back = {i: page[i] for i, stored in there.items() if stored.sequence < page[i]}
        delete_buried(self._store, self._collection, came_back)
