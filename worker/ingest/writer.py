"""Rows into vectors into a collection; what can't be read, embedded or stored is set apart."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Batch, State
from schemas.model import fields_of, render, text_from
from worker.errors import NoRoom, OutOfMemory
from worker.ingest.narrow import Failure, narrow
from worker.ingest.rows import Row
from worker.ingest.settlement import Outcome
from worker.ingest.turns import Turns
from worker.model.loaded import Target, Vectors
from worker.patience import Patience
from worker.store.points import chunks, payload
from worker.store.protocol import VectorStore, Write
from worker.telemetry import Work

COPIES_A_TURN = 128
SHORTEST = "a"
log = logging.getLogger(__name__)


class Writer:
    """Renders, embeds and upserts; one batch has the device while others read and write."""

    def __init__(
        self,
        store: VectorStore,
        *,
        turns: Turns,
        patience: Patience,
    ) -> None:
        self._store = store
        self._turns = turns
        self._patience = patience

    def write(
        self, rows: Sequence[Row], target: Target, *, batch: Batch, backfill: bool, outcome: Outcome
    ) -> list[Row]:
        """Store rows in the target's collection; `outcome` says what became of each.

        Returns those that somebody else has changed meanwhile: they were left alone.
        """
        texts = list(self._render(rows, target, batch=batch, outcome=outcome))
        kept = self._kept(texts, target)

        def embed(pairs: Sequence[tuple[Row, str]]) -> Vectors:
            with (
                self._turns.taken(backfill=backfill),
                outcome.work.step("embed", records=len(pairs)),
            ):
                return _encoded([text for _, text in pairs], target, done=outcome.work.embed)

        overtaken = self._store_rows(
            [(row, kept[row.given.doi]) for row, _ in texts if row.given.doi in kept],
            target,
            batch=batch,
            outcome=outcome,
        )
        new = [pair for pair in texts if pair[0].given.doi not in kept]
        size = COPIES_A_TURN if backfill else max(1, len(new))
        for chunk in chunks(new, size):
            for piece in narrow(embed, chunk):
                if isinstance(piece, Failure):
                    row, error = piece.item[0], piece.error
                    _bury(row, error, batch=batch, stage="embed", outcome=outcome)
                else:
                    pairs = [(row, v) for (row, _), v in zip(*piece, strict=True)]
                    overtaken += self._store_rows(pairs, target, batch=batch, outcome=outcome)
        return overtaken

    def _render(
        self, rows: Sequence[Row], target: Target, *, batch: Batch, outcome: Outcome
    ) -> Iterator[tuple[Row, str]]:
        for row in rows:
            document = row.record.document
            text = render(document, target.templates)
            if text is None:
                reason = _missing(document, target.templates)
                outcome.bury(row.given, batch, stage="render", reason=reason)
            else:
                yield row, text

    def _kept(self, texts: Sequence[tuple[Row, str]], target: Target) -> dict[str, Vectors]:
        """The stored vectors, by DOI, of the records whose texts are what they were."""
        same = {
            point_id(row.given.doi): row.given.doi
            for row, text in texts
            if row.there
            and row.there.record
            and render(row.there.record.document, target.templates) == text
        }
        if not same:
            return {}
        found = self._patience(self._store.vectors, target.collection, list(same))
        return {same[i]: vector for i, vector in found.items()}

    def _store_rows(
        self,
        pairs: Sequence[tuple[Row, Vectors]],
        target: Target,
        *,
        batch: Batch,
        outcome: Outcome,
    ) -> list[Row]:
        overtaken = []
        for piece in narrow(lambda some: self._upsert(some, target, work=outcome.work), pairs):
            if isinstance(piece, Failure):
                row, error = piece.item[0], piece.error
                _bury(row, error, batch=batch, stage="upsert", outcome=outcome)
            else:
                rows = [row for row, _ in piece[0]]
                overtaken += self._end(rows, target, outcome=outcome)
        return overtaken

    def _end(self, rows: Sequence[Row], target: Target, *, outcome: Outcome) -> list[Row]:
        """Note which rows are stored; returns those that somebody else has changed meanwhile."""
        ids = [point_id(row.given.doi) for row in rows]
        there = self._patience(self._store.read, target.collection, ids)
        overtaken = []
        for i, row in zip(ids, rows, strict=True):
            if i in there and there[i].revision == row.record.revision:
                outcome.end([row.given], State.STORED)
            else:
                overtaken.append(row)
        return overtaken

    def _upsert(self, pairs: Sequence[tuple[Row, Vectors]], target: Target, *, work: Work) -> None:
        import numpy as np  # noqa: PLC0415 - the store has it; a command with a worker's parts none

        write = Write(
            ids=[point_id(row.given.doi) for row, _ in pairs],
            vectors=np.stack([vector for _, vector in pairs]),
            payloads=[_payload(row, target.templates) for row, _ in pairs],
        )
        revisions = {row.there.revision for row, _ in pairs if row.there}
        with work.step("upsert", records=len(pairs)):
            self._patience(self._store.upsert, target.collection, write, revisions=revisions)


def _encoded(texts: Sequence[str], target: Target, *, done: Callable[[int], None]) -> Vectors:
    """The texts' vectors; raises `NoRoom` where there is no memory for any text at all now."""
    try:
        return target.encoder.encode(texts, done)
    except OutOfMemory as error:
        if len(texts) == 1:
            try:
                target.encoder.encode([SHORTEST], lambda _: None)
            except OutOfMemory:
                raise NoRoom(f"there is no memory to embed any text: {error}") from error
        raise


def _payload(row: Row, templates: Sequence[str]) -> dict[str, Any]:
    made_of = text_from(row.record.document, templates) or ""
    return payload(row.record, job=row.job, text_from=made_of)


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
        f"missing_metadata: it has no {names}; bring it (`doi-worker metadata`) or ingest it again "
        f"with its {names}, or promote a model that reads {{doi}}, then `doi-worker dead replay`"
    )


def _bury(row: Row, error: Exception, *, batch: Batch, stage: str, outcome: Outcome) -> None:
    log.warning("%s can't be stored, at %s: %s", row.given.doi, stage, error)
    reason = f"{type(error).__name__}: {error}"
    outcome.bury(row.given, batch, stage=stage, reason=reason)
