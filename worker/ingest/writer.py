"""Rows into vectors into a collection; what can't be read, embedded or stored is set apart."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Batch, State
from schemas.model import fields_of, render, text_from
from worker.ingest.narrow import Failure, narrow
from worker.ingest.rows import Row
from worker.ingest.settlement import Outcome, standing
from worker.ingest.turns import Turns
from worker.model.loaded import Target, Vectors
from worker.patience import Patience
from worker.store.points import chunks
from worker.store.protocol import VectorStore, Write
from worker.telemetry import Trace

COPIES_A_TURN = 128
log = logging.getLogger(__name__)


class Writer:
    """Renders, embeds and upserts; one batch has the device while others read and write."""

    def __init__(
        self,
        store: VectorStore,
        *,
        turns: Turns,
        patience: Patience,
        trace: Trace,
    ) -> None:
        self._store = store
        self._turns = turns
        self._patience = patience
        self._trace = trace

    def write(
        self, rows: Sequence[Row], target: Target, *, batch: Batch, backfill: bool, outcome: Outcome
    ) -> None:
        """Store rows in the target's collection; `outcome` says what became of each."""
        texts = list(self._render(rows, target, batch=batch, outcome=outcome))

        def embed(pairs: Sequence[tuple[Row, str]]) -> Vectors:
            with (
                self._turns.taken(backfill=backfill),
                self._trace.span("embed", records=len(pairs)),
            ):
                return target.encoder.encode([text for _, text in pairs])

        size = COPIES_A_TURN if backfill else max(1, len(texts))
        for chunk in chunks(texts, size):
            for piece in narrow(embed, chunk):
                if isinstance(piece, Failure):
                    row, error = piece.item[0], piece.error
                    _bury(row, error, batch=batch, stage="embed", outcome=outcome)
                else:
                    embedded = [row for row, _ in piece[0]]
                    self._store_rows(embedded, piece[1], target, batch=batch, outcome=outcome)

    def _render(
        self, rows: Sequence[Row], target: Target, *, batch: Batch, outcome: Outcome
    ) -> Iterator[tuple[Row, str]]:
        for row in rows:
            text = render(row.document, target.templates)
            if text is None:
                reason = _missing(row.document, target.templates)
                outcome.bury(row.document, batch, stage="render", reason=reason)
            else:
                yield row, text

    def _store_rows(
        self,
        rows: Sequence[Row],
        vectors: Vectors,
        target: Target,
        *,
        batch: Batch,
        outcome: Outcome,
    ) -> None:
        def condition(pair: tuple[Row, Vectors]) -> tuple[bool, int]:
            return pair[0].bare, pair[0].sequence

        def upsert(pairs: Sequence[tuple[Row, Vectors]]) -> None:
            self._upsert(pairs, target, batch=batch)

        pairs = sorted(zip(rows, vectors, strict=True), key=condition)
        for _, group in groupby(pairs, key=condition):
            for piece in narrow(upsert, list(group)):
                if isinstance(piece, Failure):
                    row, error = piece.item[0], piece.error
                    _bury(row, error, batch=batch, stage="upsert", outcome=outcome)
                else:
                    self._end([row for row, _ in piece[0]], target, batch=batch, outcome=outcome)

    def _end(self, rows: Sequence[Row], target: Target, *, batch: Batch, outcome: Outcome) -> None:
        """Note how rows ended: a write is refused where another one was newer meanwhile."""
        ids = {point_id(row.document.doi): row for row in rows}
        there = self._patience(self._store.read, target.collection, list(ids))
        for i, row in ids.items():
            said = row.payload["job"], row.payload["sequence"]
            found = there.get(i)
            if found and (found.job, found.sequence) == said:
                outcome.end([row.document], State.STORED)
            else:
                state = standing(row.document, batch, stored=found, tombstone=0)
                outcome.end([row.document], state or State.SUPERSEDED)

    def _upsert(
        self, pairs: Sequence[tuple[Row, Vectors]], target: Target, *, batch: Batch
    ) -> None:
        write = Write(
            ids=[point_id(row.document.doi) for row, _ in pairs],
            vectors=np.stack([vector for _, vector in pairs]),
            payloads=[_payload(row, target.templates) for row, _ in pairs],
        )
        first = pairs[0][0]
        with self._trace.span("upsert", batch=f"{batch.job}:{batch.number}", records=len(pairs)):
            self._patience(
                self._store.upsert,
                target.collection,
                write,
                sequence=first.sequence,
                bare=first.bare,
            )


def _payload(row: Row, templates: Sequence[str]) -> dict[str, Any]:
    return {**row.payload, "text_from": text_from(row.document, templates)}


def _missing(document: Document, templates: Sequence[str]) -> str:
    """What a record lacks that the model reads, by the template that asks for least; and the cure.

    It begins with `missing_metadata`, by which such dead letters are found.
    """
    lacking = (
        [name for name in fields_of(template) if render(document, [f"{{{name}}}"]) is None]
        for template in templates
    )
    least = min(lacking, key=len)
    names = " and ".join(dict.fromkeys(least))
    return (
        f"missing_metadata: it has no {names}; ingest it again with its {names}, or promote a "
        "model that reads {doi}, then `doi-worker dead replay`"
    )


def _bury(row: Row, error: Exception, *, batch: Batch, stage: str, outcome: Outcome) -> None:
    log.warning("%s can't be stored, at %s: %s", row.document.doi, stage, error)
    reason = f"{type(error).__name__}: {error}"
    outcome.bury(row.document, batch, stage=stage, reason=reason)
