"""Passes over a collection: each copies what the other one lacks, through the workers."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from schemas.job import Job
from schemas.model import ModelVersion
from trainer.errors import PromotionRefused
from trainer.promotion import difference
from trainer.promotion.feed import Feed
from trainer.promotion.intent import Intent
from worker.errors import LedgerUnavailable, StoreUnavailable
from worker.ledger.ledger import Ledger
from worker.model.loaded import Target
from worker.patience import Patience
from worker.store.protocol import VectorStore

SILENCE_S = 30.0
FAILURES = 1000  # of copies, before a pass may be given up
PASSES = 5  # that a store which went away may cut off, one after the other


class Watcher(Protocol):
    """Who is told how a promotion gets on."""

    def step(self, name: str, words: str) -> None:
        """A named step begins."""

    def progress(self, done: int, total: int) -> None:
        """How many of the records that the step looks at are done."""

    def warn(self, words: str) -> None:
        """Something that a person should look at."""


class Deployment(NamedTuple):
    """What a move works on: ledger, store, and how models are loaded."""

    ledger: Ledger
    store: VectorStore
    load: Callable[[str], Target]
    patience: Patience
    alias: str
    indexes_by_itself: bool


class Pass(NamedTuple):
    """One look at the whole source: what the target lacked, and what came of copying it."""

    lacking: int
    job: Job
    unread: difference.Unread


class Passes:
    """Goes through collections, again and again, and has copied what the target of a move lacks.

    What is looked through is the move's source unless another one is named; `besides` are
    collections that are seen to for themselves: what they have is left to them.
    """

    def __init__(
        self,
        deployment: Deployment,
        intent: Intent,
        *,
        manifest: ModelVersion,
        check: Callable[[], None],
        watcher: Watcher,
    ) -> None:
        """`check` is called often, and raises where this process may not go on."""
        self.feed = Feed(deployment.ledger, patience=deployment.patience, check=check)
        self._deployment = deployment
        self._intent = intent
        self._manifest = manifest
        self._watcher = watcher
        self._moved = (0, time.monotonic())

    def pages(
        self, source: str | None = None, *, besides: Sequence[str] = ()
    ) -> Iterator[difference.Page]:
        """What the target lacks now, page by page."""
        return difference.pages(
            self._deployment.store,
            source or self._intent.source,
            [self._intent.target, *besides],
            buried=self._deployment.ledger.buried,
            version=self._manifest,
        )

    def once(self, source: str | None = None, *, besides: Sequence[str] = ()) -> Pass:
        """Copy what the target lacks; what comes meanwhile is for the next pass."""
        for _ in range(PASSES):
            try:
                return self._once(source or self._intent.source, besides)
            except (StoreUnavailable, LedgerUnavailable) as error:
                self._watcher.warn(f"begun again: {error}")
                self.feed.drop_leftovers()
                self._deployment.patience(self._deployment.store.live, self._deployment.alias)
        return self._once(source or self._intent.source, besides)

    def _once(self, source: str, besides: Sequence[str]) -> Pass:
        self._moved = (-1, time.monotonic())
        total = self._deployment.patience(self._deployment.store.count, source)
        looked, lacking = 0, 0
        unread = difference.Unread()

        def wanted() -> Iterator[str]:
            nonlocal looked, lacking
            for page in self.pages(source, besides=besides):
                looked += page.points
                lacking += len(page.lacking)
                unread.add(page.unreadable)
                yield from page.lacking

        def show(job: Job) -> None:
            self._watcher.progress(looked - lacking + job.settled, max(total, looked))
            figure = job.settled if job.batches > job.settled_batches else -looked
            self.listen(figure, "no worker copies: do they run, and have they the model?")
            if job.dead > FAILURES and job.dead > job.settled / 2:
                raise PromotionRefused(
                    f"{job.dead:,} of {job.settled:,} records could not be copied; "
                    "the workers' logs say why"
                )

        job = self.feed.copy(wanted(), source=source, target=self._intent.target, settled=show)
        return Pass(lacking, job, unread)

    def listen(self, figure: int, words: str) -> None:
        """Warn where a figure has stood still for a while."""
        now = time.monotonic()
        if figure != self._moved[0]:
            self._moved = (figure, now)
        elif now - self._moved[1] > SILENCE_S:
            self._watcher.warn(f"nothing for {SILENCE_S:.0f} s: {words}")
            self._moved = (figure, now)
