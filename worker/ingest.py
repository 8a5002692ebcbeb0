"""One batch: skip what is there, embed the rest, upsert, isolate what is poison, settle."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Batch, State
from schemas.model import render
from worker.errors import BatchLost, ConfigurationError, ModelError, Stopped
from worker.leases import Leases
from worker.ledger import Claim, Ledger
from worker.narrow import Failure, narrow
from worker.patience import Patience
from worker.settlement import Outcome, is_overtaken, payload, standing
from worker.store.protocol import VectorStore, Write
from worker.telemetry import Trace

TRUSTED_CLAIMS = 2
FATAL_DEATHS = 2
Vectors = NDArray[np.float32]
log = logging.getLogger(__name__)


class Encoder(Protocol):
    """Turns texts into unit vectors."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors float32 [n, dimension], in the order of the texts."""


class Target(NamedTuple):
    """Where a worker writes: the collection of its model, and how that model reads a record."""

    collection: str
    templates: Sequence[str]
    text_bytes: int


class Ingestor:
    """Works batches off, several at once: one embeds while others read and write."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: VectorStore,
        encoder: Encoder,
        target: Target,
        leases: Leases,
        patience: Patience,
        trace: Trace,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._encoder = encoder
        self._target = target
        self._leases = leases
        self._patience = patience
        self._trace = trace
        self._device = threading.Lock()

    def run(self, job: str, number: int) -> None:
        """Claim, work and settle a batch; nothing where it isn't to be had.

        Waits out a store or a ledger that is away. Raises `DeviceLost` and `ModelError`.
        """
        claim = self._patience(self._ledger.claim, job, number)
        if claim is None:
            return
        with self._leases.held(claim):
            try:
                self._settle(claim, self._work(claim))
            except (Stopped, BatchLost, ConfigurationError) as error:
                log.warning("giving batch %s back: %s", claim.member, error)
                self._ledger.release(claim)
            except ModelError:
                self._ledger.release(claim)  # no record's fault: the claim doesn't count
                raise

    def _work(self, claim: Claim) -> Outcome:
        outcome = Outcome()
        if claim.claims <= TRUSTED_CLAIMS:
            self._ingest(claim, claim.batch.documents, outcome)
            return outcome
        log.warning("batch %s was lost %d times: one by one", claim.member, claim.claims - 1)
        for index in range(len(claim.batch.documents)):
            self._try_alone(claim, index, outcome=outcome)
        return outcome

    def _try_alone(self, claim: Claim, index: int, *, outcome: Outcome) -> None:
        document = claim.batch.documents[index]
        deaths = claim.deaths.get(index, 0)
        if deaths >= FATAL_DEATHS:
            reason = f"the worker died {deaths} times while on this record"
            outcome.bury(document, claim.batch, stage="process", reason=reason)
            return
        if not self._patience(self._ledger.mark, claim, index):
            raise BatchLost(f"batch {claim.member} is another worker's now")
        self._ingest(claim, [document], outcome)

    def _ingest(self, claim: Claim, documents: Sequence[Document], outcome: Outcome) -> None:
        missing = self._skip_known(claim, documents, outcome)
        texts = list(self._render(claim.batch, missing, outcome))
        if not texts:
            return
        for piece in narrow(self._embed, texts):
            if isinstance(piece, Failure):
                self._bury(claim.batch, piece.item[0], piece.error, stage="embed", outcome=outcome)
            else:
                self._write(claim.batch, [d for d, _ in piece[0]], piece[1], outcome)

    def _skip_known(
        self, claim: Claim, documents: Sequence[Document], outcome: Outcome
    ) -> list[Document]:
        ids = {point_id(d.doi): d for d in documents}
        with self._trace.span("read", batch=claim.member):
            buried = self._patience(self._ledger.buried, list(ids))
            stored = self._patience(self._store.read, self._target.collection, list(ids))
        # What a deletion has yet to reach would refuse the writing of a bare record.
        late = {i: buried[i] for i, s in stored.items() if s.sequence < buried.get(i, 0)}
        self._patience(delete_buried, self._store, self._target.collection, late)
        missing = []
        for i, document in ids.items():
            there = stored.get(i)
            state = standing(document, claim.batch, stored=there, tombstone=buried.get(i, 0))
            # An older record of another job that is written later would replace what this newer
            # one found to be current, unless it leaves its number: it is written again.
            rewrite = claim.contested and is_overtaken(document, claim.batch, there, state)
            if state is None or rewrite:
                missing.append(document)
            else:
                outcome.end([document], state)
        return missing

    def _render(
        self, batch: Batch, documents: Sequence[Document], outcome: Outcome
    ) -> Iterator[tuple[Document, str]]:
        for document in documents:
            text = render(document, self._target.templates)
            if text is None:
                outcome.bury(document, batch, stage="render", reason="missing_metadata")
            elif len(text.encode()) > self._target.text_bytes:
                reason = (
                    f"a text of {len(text.encode())} bytes; {self._target.text_bytes} are allowed"
                )
                outcome.bury(document, batch, stage="render", reason=reason)
            else:
                yield document, text

    def _embed(self, pairs: Sequence[tuple[Document, str]]) -> Vectors:
        with self._device, self._trace.span("embed", records=len(pairs)):
            return self._encoder.encode([text for _, text in pairs])

    def _write(
        self, batch: Batch, documents: Sequence[Document], vectors: Vectors, outcome: Outcome
    ) -> None:
        rows = sorted(zip(documents, vectors, strict=True), key=lambda row: row[0].is_bare)
        for bare, group in groupby(rows, key=lambda row: row[0].is_bare):
            for piece in narrow(partial(self._upsert, batch, bare=bare), list(group)):
                if isinstance(piece, Failure):
                    self._bury(batch, piece.item[0], piece.error, stage="upsert", outcome=outcome)
                else:
                    outcome.end([document for document, _ in piece[0]], State.STORED)

    def _upsert(
        self, batch: Batch, rows: Sequence[tuple[Document, Vectors]], *, bare: bool
    ) -> None:
        write = Write(
            ids=[point_id(document.doi) for document, _ in rows],
            vectors=np.stack([vector for _, vector in rows]),
            payloads=[payload(document, batch) for document, _ in rows],
        )
        with self._trace.span("upsert", batch=f"{batch.job}:{batch.number}", records=len(rows)):
            self._patience(
                self._store.upsert,
                *(self._target.collection, write),
                sequence=batch.sequence,
                bare=bare,
            )

    def _bury(
        self, batch: Batch, document: Document, error: Exception, *, stage: str, outcome: Outcome
    ) -> None:
        log.warning("dead letter: %s at %s: %s", document.doi, stage, error)
        reason = f"{type(error).__name__}: {error}"
        outcome.bury(document, batch, stage=stage, reason=reason)

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
        with self._trace.span("settle", batch=claim.member):
            while (verdict := self._patience(self._settle_once, claim, outcome)) == "deleted":
                claim = self._clear_buried(claim, outcome)
        if verdict == "lost":
            log.info("batch %s was settled elsewhere", claim.member)

    def _settle_once(self, claim: Claim, outcome: Outcome) -> str:
        return self._ledger.settle(claim, outcome.counts, list(outcome.dead.values()))

    def _clear_buried(self, claim: Claim, outcome: Outcome) -> Claim:
        """Remove what was deleted while this batch ran; the claim then knows of it."""
        epoch = self._patience(self._ledger.epoch)
        dois = {point_id(document.doi): document.doi for document in claim.batch.documents}
        buried = self._patience(self._ledger.buried, list(dois))
        newer = {i: s for i, s in buried.items() if s > claim.batch.sequence}
        self._patience(delete_buried, self._store, self._target.collection, newer)
        for i in newer:
            outcome.states[dois[i]] = State.SUPERSEDED
            outcome.dead.pop(dois[i], None)
        return claim._replace(epoch=epoch)


def delete_buried(store: VectorStore, collection: str, tombstones: Mapping[str, int]) -> None:
    """Remove the points under `tombstones` (ids with their sequences) that are older."""
    for sequence, group in groupby(sorted(tombstones, key=tombstones.__getitem__), tombstones.get):
        store.delete(collection, list(group), below=sequence or 0)
