"""The worker's part in a promotion: batches that copy records to the new collection."""

import logging
import threading
import time
from collections.abc import Callable

from worker.errors import DeviceLost, ModelError, NoRoom, Stopped
from worker.ingest.batch import Ingestor
from worker.ledger.ledger import Ledger
from worker.ticker import Ticker

AGAIN_S = 30.0
REFUSED_S = 10.0  # so that who refuses batch after batch uses up no tries of the others
log = logging.getLogger(__name__)


class Backfiller:
    """Takes up the batches of backfills, one at a time, beside what Celery brings.

    They have no messages: the ledger's list of those that nobody holds is the queue. `lost` is
    called where the device is lost; `failure` says why this one takes no part at the moment.
    """

    def __init__(
        self, ledger: Ledger, ingestor: Ingestor, *, lost: Callable[[], None], pause_s: float
    ) -> None:
        self._ledger = ledger
        self._ingestor = ingestor
        self._lost = lost
        self._stopped = threading.Event()
        self._not_before = 0.0
        self.failure: ModelError | NoRoom | None = None
        self._ticker = Ticker("backfill", self._work_off, pause_s=pause_s)

    def start(self) -> None:
        """Begin to look for batches."""
        self._ticker.start()

    def stop(self) -> None:
        """End, after the batch under way."""
        self._stopped.set()
        self._ticker.stop()

    def step(self) -> bool:
        """Work one batch off; False where there is none, or it had to be given back.

        Raises `ModelError`, `NoRoom`, `DeviceLost` and `LedgerUnavailable`.
        """
        address = self._ledger.next_copy()
        if address is None:
            return False
        done = self._ingestor.run(*address)
        self._not_before = 0.0 if done else time.monotonic() + REFUSED_S
        return done

    def _work_off(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            while not self._stopped.is_set() and self.step():
                self.failure = None
        except Stopped:
            self._stopped.set()
        except (ModelError, NoRoom) as error:
            # Others may have the model, and this one may get it yet.
            log.warning("no part in the backfill for %.0f s: %s", AGAIN_S, error)
            self.failure = error
            self._not_before = time.monotonic() + AGAIN_S
        except DeviceLost:
            log.critical("the accelerator is lost; this worker ends", exc_info=True)
            self._lost()
