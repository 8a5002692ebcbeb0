"""Beat's scheduler: what is due is sent, however long Redis is away."""

from typing import Any

from celery.beat import PersistentScheduler, SchedulingError

from worker.errors import LedgerUnavailable
from worker.patience import Patience


class PatientScheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's own, but a message that can't be sent is sent again until it is.

    Celery's own would leave it out until the next slot. kombu's retries don't do: where Redis
    comes back in the middle of a message they publish on a channel that they have closed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._patience = Patience()  # before Celery's, which may send at once
        super().__init__(*args, **kwargs)

    def apply_async(
        self,
        entry: Any,
        producer: Any = None,  # noqa: ARG002 - each try has one of its own
        advance: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Send what is due, as Celery's does."""
        due = self.reserve(entry) if advance else entry
        return self._patience(self._send, due, **kwargs)

    def _send(self, due: Any, **kwargs: Any) -> Any:
        try:
            return super().apply_async(due, advance=False, **kwargs)
        except SchedulingError as error:
            raise LedgerUnavailable(str(error)) from error
