"""Beat's scheduler: what is due is sent, however long Redis is away."""

from typing import Any

from celery.beat import PersistentScheduler, SchedulingError
from kombu.exceptions import OperationalError

from worker.ledger.failures import unreachable
from worker.patience import Patience


class PatientScheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's own, but a message that Redis doesn't take is sent again until it does.

    Celery's own would leave it out until the next slot. kombu's retries don't do: where Redis
    comes back in the middle of a message they publish on a channel that they have closed. Until a
    slot is sent it stays due in what is stored, so that a beat that ends meanwhile loses none; of
    slots that pass while Redis is away the latest is sent.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._patience = Patience()
        super().__init__(*args, **kwargs)

    def apply_async(
        self,
        entry: Any,
        producer: Any = None,  # noqa: ARG002 - each try has one of its own
        advance: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Send what is due, as Celery's does."""
        following = next(entry) if advance else self.schedule[entry.name]
        self.schedule[entry.name] = entry
        try:
            sent = self._patience(self._send, entry, **kwargs)
        except Exception:
            self.schedule[entry.name] = following  # as Celery's has it: it would fail again
            raise
        self.schedule[entry.name] = following
        return sent

    def _send(self, due: Any, **kwargs: Any) -> Any:
        try:
            return super().apply_async(due, advance=False, **kwargs)
        except SchedulingError as error:
            if isinstance(error.__context__, OperationalError):
                raise unreachable(error.__context__) from error
            raise
