"""The heartbeat that keeps a worker's batches its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.ledger import Claim, Ledger
from worker.patience import Said
from worker.ticker import Ticker

log = logging.getLogger(__name__)


class Leases:
    """Renews the leases of the batches in hand, from a thread of its own.

    Between two renewals passes a quarter of a lease, so that three may fail. A lease that was
    lost is not fought for: the ledger refuses the settling, and the batch runs elsewhere.
    """

    def __init__(self, ledger: Ledger, *, lease_s: float) -> None:
        self._ledger = ledger
        self._held: dict[str, Claim] = {}
        self._said = Said()
        self._ticker = Ticker("leases", self._beat, pause_s=lease_s / 4)

    def start(self) -> None:
        """Begin to renew."""
        self._ticker.start()

    def stop(self) -> None:
        """End; leases run out by themselves."""
        self._ticker.stop()

    @contextmanager
    def held(self, claim: Claim) -> Iterator[None]:
        """Renew `claim` for as long as the body runs."""
        self._held[claim.token] = claim
        try:
            yield
        finally:
            self._held.pop(claim.token, None)

    def _beat(self) -> None:
        for claim in list(self._held.values()):
            self._renew(claim)

    def _renew(self, claim: Claim) -> None:
        try:
            if not self._ledger.renew(claim):
                metrics.LEASES_LOST.inc()
                self._held.pop(claim.token, None)  # said and counted once
                log.warning("batch %s is no longer held by this worker", claim.member)
        except LedgerUnavailable as error:
            if self._said.is_due(str(error)):
                log.warning("could not renew batch %s: %s", claim.member, error)
        except Exception:  # whatever it is, the other leases must be renewed
            log.exception("could not renew batch %s", claim.member)
