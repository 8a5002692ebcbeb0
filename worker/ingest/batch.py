"""One batch: claim it, bring it to every collection of the route, settle it."""

import logging
import time
from collections.abc import Sequence

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import State
from worker.errors import (
    BatchLost,
    CollectionMissing,
    DeviceLost,
    LedgerDamaged,
    ModelError,
    NoRoom,
    WorkerError,
)
from worker.ingest import ends
from worker.ingest.faults import FAILS_CANDIDATE, GIVEN_BACK
from worker.ingest.rows import Reader, Row
from worker.ingest.settlement import Outcome
from worker.ingest.writer import Writer
from worker.ledger.leases import Leases
from worker.ledger.ledger import Claim, Ledger
from worker.model.loaded import Models, Target
from worker.patience import Patience
from worker.telemetry import Desk, Work

TRUSTED_CLAIMS = 2
FATAL_DEATHS = 2
AGAIN_S = 30.0
ROUNDS = 100  # in each of which some other writer got through
log = logging.getLogger(__name__)


class Ingestor:
    """Works batches off, several at once: one embeds while others read and write.

    A batch is written to the candidate of a promotion, where there is one, and then to the live
    collection, which decides how its records end. A batch of a backfill is written to the
    collection that it copies to.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        models: Models,
        reader: Reader,
        writer: Writer,
        leases: Leases,
        patience: Patience,
        desk: Desk,
    ) -> None:
        self._ledger = ledger
        self._models = models
        self._reader = reader
        self._writer = writer
        self._leases = leases
        self._patience = patience
        self._desk = desk
        self._not_before: dict[str, float] = {}  # when a candidate that failed is tried again

    def run(self, job: str, number: int) -> bool:
        """Claim, work and settle a batch; False where it had to be given back.

        A batch that isn't to be had is none of this worker's. Waits out a store or a ledger that
        is away. What is no record's fault gives the batch back with its reason, which the job
        shows; see `worker.ingest.faults`. Raises `DeviceLost`, `ModelError` and `NoRoom`.
        """
        try:
            claim = self._patience(self._ledger.claim, job, number)
        except LedgerDamaged as error:
            log.error("giving a batch back: %s", error)  # noqa: TRY400 - it is in the job's note
            return False
        if claim is None:
            return True
        batch = claim.batch
        records = len(batch.documents)
        with (
            self._leases.held(claim),
            self._desk.work(batch.job, batch.number, records=records) as work,
        ):
            try:
                self._see_through(claim, work)
            except GIVEN_BACK as error:
                log.warning("giving batch %s back: %s", claim.member, error)
                self._ledger.release(claim)
                return False
            except DeviceLost:
                raise  # perhaps a record's doing: the claim counts
            except (ModelError, NoRoom):
                self._ledger.release(claim)
                raise
            except Exception as error:
                log.warning("giving batch %s back", claim.member, exc_info=True)
                self._ledger.release(claim, reason=_words(error))
                return False
            return True

    def tend(self) -> None:
        """Let go of the models that are neither live nor a candidate's any more."""
        names = (self._ledger.route().candidate, self._reader.live())
        self._models.keep([name for name in names if name])

    def _see_through(self, claim: Claim, work: Work) -> None:
        outcome = self._work(claim, work)
        while (verdict := self._settle(claim, outcome)) == "rerouted":
            # The collections to be written have changed since the claim.
            following = self._patience(self._ledger.follow, claim)
            if following is None:
                raise BatchLost(f"batch {claim.member} is another worker's now")
            claim = following
            outcome = self._work(claim, work)
        if verdict == "settled":
            self._desk.settle(work.records)
            ends.tell(claim, outcome)

    def _work(self, claim: Claim, work: Work) -> Outcome:
        if not claim.copies:
            return self._bring_all(claim, work)
        try:
            return self._bring_all(claim, work)
        except CollectionMissing as error:
            log.info("backfill %s: %s", claim.member, error)
            outcome = Outcome(work)
            outcome.end(claim.batch.documents, State.SUPERSEDED)
            return outcome

    def _bring_all(self, claim: Claim, work: Work) -> Outcome:
        # The route was read before the alias is: a switch in between is seen as a new route.
        target = self._models.target(claim.copies[1] if claim.copies else self._reader.live())
        if claim.claims <= TRUSTED_CLAIMS:
            try:
                outcome = Outcome(work)
                self._bring(claim, claim.batch.documents, target, outcome=outcome)
            except (WorkerError, MemoryError):
                raise
            except Exception:
                log.exception(
                    "batch %s: something is wrong with a record, or with us", claim.member
                )
                return self._sort_out(claim, target, work)
            return outcome
        outcome = Outcome(work)
        log.warning("batch %s was lost %d times: one by one", claim.member, claim.claims - 1)
        for index in range(len(claim.batch.documents)):
            self._try_alone(claim, index, target, outcome=outcome)
        return outcome

    def _sort_out(self, claim: Claim, target: Target, work: Work) -> Outcome:
        """Find the records with which a step fails as it should not; they end as dead letters.

        Where it fails with every one of several records, it is none's fault: that error is raised.
        """
        outcome, failed = Outcome(work), list[Exception]()
        for document in claim.batch.documents:
            try:
                self._bring(claim, [document], target, outcome=outcome)
            except (WorkerError, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this record's
                outcome.bury(document, claim.batch, stage="process", reason=_words(error))
                failed.append(error)
        if len(failed) == len(claim.batch.documents) > 1:
            raise failed[-1]
        return outcome

    def _try_alone(self, claim: Claim, index: int, target: Target, *, outcome: Outcome) -> None:
        document = claim.batch.documents[index]
        deaths = claim.deaths.get(index, 0)
        if deaths >= FATAL_DEATHS:
            reason = f"the worker died {deaths} times while on this record"
            self._give_up(claim, document, target, reason=reason, outcome=outcome)
            return
        if not self._patience(self._ledger.mark, claim, index):
            raise BatchLost(f"batch {claim.member} is another worker's now")
        self._bring(claim, [document], target, outcome=outcome)

    def _give_up(
        self, claim: Claim, document: Document, target: Target, *, reason: str, outcome: Outcome
    ) -> None:
        """End a record that is not tried again: it may be there, where a death came after that."""
        if self._rows(target.collection, claim, [document], outcome=outcome):
            outcome.bury(document, claim.batch, stage="process", reason=reason)
            return
        candidate = None if claim.copies else claim.route.candidate
        if candidate and self._is_lacking(candidate, claim, document, work=outcome.work):
            outcome.untaken.append(document.doi)

    def _is_lacking(self, candidate: str, claim: Claim, document: Document, *, work: Work) -> bool:
        try:
            return bool(self._rows(candidate, claim, [document], outcome=Outcome(work)))
        except FAILS_CANDIDATE:
            return True

    def _bring(
        self, claim: Claim, documents: Sequence[Document], target: Target, *, outcome: Outcome
    ) -> None:
        candidate = None if claim.copies else claim.route.candidate
        if candidate and candidate != target.collection:
            # What a candidate can't take is no dead letter: its promotion counts and lists it.
            outcome.untaken += self._bring_to_candidate(
                candidate, claim, documents, work=outcome.work
            )
        self._bring_to(target, claim, documents, outcome=outcome)

    def _bring_to_candidate(
        self, candidate: str, claim: Claim, documents: Sequence[Document], *, work: Work
    ) -> list[str]:
        """The DOIs of the documents that the candidate can't take."""
        beside, every = Outcome(work), [document.doi for document in documents]
        if time.monotonic() < self._not_before.get(candidate, 0.0):
            return every
        try:
            self._bring_to(self._models.target(candidate), claim, documents, outcome=beside)
        except FAILS_CANDIDATE as error:
            log.warning("nothing is written to %s, as its promotion will say: %s", candidate, error)
            self._not_before = {candidate: time.monotonic() + AGAIN_S}
            return every
        return list(beside.dead)

    def _bring_to(
        self, target: Target, claim: Claim, documents: Sequence[Document], *, outcome: Outcome
    ) -> None:
        left = documents
        for _ in range(ROUNDS):
            rows = self._rows(target.collection, claim, left, outcome=outcome)
            if rows and not self._patience(self._ledger.begin, claim):
                raise BatchLost(f"batch {claim.member} is another worker's now")
            overtaken = self._writer.write(
                rows,
                target,
                batch=claim.batch,
                backfill=claim.copies is not None,
                outcome=outcome,
            )
            if not overtaken:
                return
            left = [row.given for row in overtaken]  # to be merged with what is there now
        raise BatchLost(f"others keep changing the records of batch {claim.member}")

    def _rows(
        self, collection: str, claim: Claim, documents: Sequence[Document], *, outcome: Outcome
    ) -> list[Row]:
        with outcome.work.step("read"):
            if claim.copies:
                return self._reader.to_copy(
                    claim.copies[0], documents, collection=collection, outcome=outcome
                )
            return self._reader.to_ingest(claim, documents, collection=collection, outcome=outcome)

    def _settle(self, claim: Claim, outcome: Outcome) -> str:
        with outcome.work.step("settle"):
            while (verdict := self._patience(self._settle_once, claim, outcome)) == "deleted":
                claim = self._clear_buried(claim, outcome)
        if verdict == "lost":
            log.info("batch %s was settled elsewhere", claim.member)
            self._clear_buried(claim, outcome)  # what this worker wrote late may be deleted by now
        return verdict

    def _settle_once(self, claim: Claim, outcome: Outcome) -> str:
        # Failed copies are counted only: the promotion names them, and there may be many.
        letters = [] if claim.copies else list(outcome.dead.values())
        return self._ledger.settle(claim, outcome.counts, letters, untaken=outcome.untaken)

    def _clear_buried(self, claim: Claim, outcome: Outcome) -> Claim:
        """Remove what was deleted while this batch ran; the claim then knows of it."""
        epoch = self._patience(self._ledger.epoch)
        dois = {point_id(document.doi): document.doi for document in claim.batch.documents}
        buried = self._patience(self._ledger.buried, list(dois))
        # A copied record is as old as it is; whether it was deleted is for the store to compare.
        newer = {i: s for i, s in buried.items() if claim.copies or s > claim.batch.sequence}
        self._reader.clear_everywhere(newer)
        for i in newer:
            outcome.states[dois[i]] = State.SUPERSEDED
            outcome.dead.pop(dois[i], None)
        return claim._replace(epoch=epoch)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
