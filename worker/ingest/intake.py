"""Lists that other programs send as tasks: each becomes a job, if need be a rejected one."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from worker.errors import (
    JobCancelled,
    JobClosed,
    JobConflict,
    LedgerUnavailable,
    SourceError,
    Stopped,
)
from worker.ingest.producer import Producer, digest_of
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.sources.parsing import encodable

TRIES = 5
REMEMBERED_S = 86400.0
log = logging.getLogger(__name__)


class Intake:
    """Takes a task's list as a job of the task's id; repeated, it is the same job.

    What can't be taken ends where a person sees it: as a job in state `rejected`.
    """

    def __init__(self, producer: Producer, ledger: Ledger, *, patience: Patience) -> None:
        self._producer = producer
        self._ledger = ledger
        self._patience = patience

    def take(self, job: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Take the list in that a task was called with, as its one argument or as `dois`.

        Raises where the message must come again: told to stop, a ledger that is away, and what
        is no reason to reject a list before it happened five times.
        """
        job = encodable(str(job))  # any program may have given the task its id
        if (len(arguments), set(named)) not in ((1, set()), (0, {"dois"})):
            given = [*(repr(value)[:50] for value in arguments), *(f"{name}=" for name in named)]
            reason = f"wrong arguments ({', '.join(given)}): worker.ingest takes one list, `dois`"
            self._reject(job, reason=reason)
            return
        self._enqueue(job, named["dois"] if named else arguments[0])

    def _enqueue(self, job: str, dois: Any) -> None:
        try:
            self._producer.enqueue(dois, job=job)
        except (Stopped, LedgerUnavailable):
            raise
        except JobConflict as error:
            self._reject(f"{job}-{digest_of([dois])[:8]}", reason=str(error))
        except JobClosed:
            # Its worker was away for so long that the job was sealed with a part of the list. What
            # that part holds is found unchanged.
            self._enqueue(f"{job}-again", dois)
        except JobCancelled as error:
            log.warning("list %s is dropped: %s", job, error)
        except SourceError as error:
            self._reject(job, reason=str(error))
        except Exception as error:
            tries = self._patience(self._ledger.count, f"intake:{job}", keep_s=REMEMBERED_S)
            if tries < TRIES:
                raise
            log.exception("list %s failed %d times", job, tries)
            self._reject(job, reason=f"failed {tries} times: {type(error).__name__}: {error}")

    def _reject(self, job: str, *, reason: str) -> None:
        reason = encodable(reason)
        log.error("list %s is rejected: %s", job, reason)
        self._patience(self._ledger.reject, job, source="a task's list", reason=reason)
