"""A backfill as the workers see it: batches of DOIs in the ledger, a few at a time."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import uuid4

from schemas.document import Document
from schemas.job import Job, JobState
from trainer.errors import PromotionRefused
from worker.errors import JobUnknown, LedgerUnavailable
from worker.ledger.ledger import Ledger
from worker.patience import Patience

COPIES_A_BATCH = 512
OUTSTANDING = 64
LOOK_S = 0.05
JOB = "backfill"  # what the job under way is noted under


class Feed:
    """Puts records that are to be copied into the ledger, and waits until workers have done so.

    `check` is called while it waits: it raises where this process may not go on.
    """

    def __init__(self, ledger: Ledger, *, patience: Patience, check: Callable[[], None]) -> None:
        self._ledger = ledger
        self._patience = patience
        self._check = check

    def copy(
        self, dois: Iterable[str], *, source: str, target: str, settled: Callable[[Job], None]
    ) -> Job:
        """Have records copied from a collection to another; returns when all are settled.

        `settled` is told how the job stands, again and again; what it raises ends the wait. Raises
        `PromotionRefused` where workers gave batches back ten times, and none was copied meanwhile.
        """
        job = self._open(source, target)
        number, batch = 0, list[str]()
        for doi in dois:
            batch.append(doi)
            if len(batch) == COPIES_A_BATCH:
                self._accept(job, number, batch, settled=settled)
                number, batch = number + 1, []
        if batch:
            self._accept(job, number, batch, settled=settled)
            number += 1
        done = self._wait(job, settled=settled, below=1)
        self._patience(self._ledger.seal, job, number, repeated=0, invalid=0)
        return done

    def drop_leftovers(self) -> None:
        """Cancel what a run that was cut off had put into the ledger."""
        left = self._patience(self._ledger.noted, JOB)
        if left:
            with suppress(JobUnknown):  # it was noted, and not opened yet
                self._patience(self._ledger.cancel, left)
            self._patience(self._ledger.note, JOB, None)

    def _open(self, source: str, target: str) -> str:
        job = f"backfill-{uuid4().hex[:12]}"
        # Noted first: what a crash leaves behind is found.
        self._patience(self._ledger.note, JOB, job)
        self._patience(
            self._ledger.open,
            job,
            identity=None,
            source=f"{source} to {target}",
            batch_records=COPIES_A_BATCH,
            copies=(source, target),
        )
        return job

    def _accept(
        self, job: str, number: int, dois: list[str], *, settled: Callable[[Job], None]
    ) -> None:
        self._wait(job, settled=settled, below=OUTSTANDING)
        documents = [Document(doi=doi) for doi in dois]
        taken = self._patience(self._ledger.accept, job, number, documents)
        if taken.verdict == "unknown":
            raise LedgerUnavailable(f"Redis lost job {job}; run the command again")

    def _wait(self, job: str, *, settled: Callable[[Job], None], below: int) -> Job:
        while True:
            self._check()
            now = self._patience(self._ledger.job, job)
            settled(now)
            if now.state is JobState.PAUSED:
                self.drop_leftovers()
                raise PromotionRefused(
                    f"workers gave batches of the backfill back, again and again: {now.note}; mend "
                    "that, then give the command again"
                )
            if now.batches - now.settled_batches < below:
                return now
            time.sleep(LOOK_S)
