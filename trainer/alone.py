"""One refine at a time: on all machines that share a Redis, else in this data directory."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from worker.files import locked
from worker.ledger.ledger import Ledger
from worker.ledger.sole import sole
from worker.settings.environment import Settings

Check = Callable[[], None]
REFINING = "refine"  # what nobody else may do while one trains, promotes by its gate, or prunes


@contextmanager
def alone(settings: Settings, name: str) -> Iterator[Check]:
    """Hold what one process at a time may do; yields a check that raises `LeaseLost`.

    Without a Redis URL it is a lock below the data directory: the private Redis belongs to the
    commands that need it, and this may take hours. Raises `Busy`, `LedgerUnavailable`.
    """
    if settings.redis.url is None:
        with locked(settings.data_dir / "trainer" / f"{name}.lock"):
            yield lambda: None
        return
    with (
        closing(Ledger.connect(settings.redis, options=settings.ingest)) as ledger,
        sole(ledger, name, lease_s=settings.ingest.lease_s) as lease,
    ):
        yield lease.check
