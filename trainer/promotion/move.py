"""The steps by which the alias comes from one collection to another; each may be repeated."""

import time
from collections.abc import Callable, Sequence
from itertools import chain

from schemas.doi import point_id
from schemas.model import ModelVersion
from trainer.errors import PromotionRefused
from trainer.promotion import difference
from trainer.promotion.intent import Intent
from trainer.promotion.missing import Missing
from trainer.promotion.passes import Deployment, Pass, Passes, Watcher
from trainer.promotion.samples import check_samples
from worker.errors import LedgerUnavailable, SwitchRefused
from worker.ingest.settlement import covers
from worker.ledger.sole import Lease
from worker.model.loaded import Target

LAST_LAP_RECORDS = 2000  # when there are fewer to copy, workers begin to write to both
LOOK_S = 0.05
INDEX_WAITS = 3  # of ten minutes each: under steady writes an index may never be complete
IDLE_PASSES = 3  # in which nothing could be copied, though something is lacking


class Move:
    """One promotion or rollback, under its lease."""

    def __init__(
        self,
        deployment: Deployment,
        intent: Intent,
        *,
        manifest: ModelVersion,
        lease: Lease,
        missing: Missing,
        check: Callable[[], None],
        watcher: Watcher,
    ) -> None:
        """`check` raises where the workers of this process have failed."""
        self._ledger, self._store = deployment.ledger, deployment.store
        self._patience = deployment.patience
        self._deployment = deployment
        self._intent = intent
        self._manifest = manifest
        self._lease = lease
        self._missing = missing
        self._check_workers = check
        self._watcher = watcher
        self._passes = Passes(
            deployment, intent, manifest=manifest, check=self._check, watcher=watcher
        )

    @property
    def is_switched(self) -> bool:
        """Whether the alias is where it shall be."""
        return self._patience(self._store.live, self._deployment.alias) == self._intent.target

    def run(self) -> None:
        """Go through all steps; what the target's model can't read is kept in `missing`.

        Raises `PromotionRefused`, `SwitchRefused`, `LeaseLost`, `ModelError`, and what ledger and
        store raise.
        """
        self._begin()
        live = self._patience(self._store.live, self._deployment.alias)
        if live not in {self._intent.source, self._intent.target}:
            raise SwitchRefused(f"the alias points at {live}, not at {self._intent.source}")
        if live == self._intent.source:
            self._go()
        elif self._intent.now:
            self._catch_up()

    def end(self) -> None:
        """Let workers write to the live collection alone, and forget what was begun."""
        self._step("release", "workers write to the live collection alone")
        self._passes.feed.drop_leftovers()
        self._patience(self._lease.reroute, None)
        if self.is_switched:
            # From now on these are dead letters; what came in the last moments is known by now.
            self._missing.add_new(self._untaken())
        self._patience(self._ledger.note, self._lease.name, None)

    def _begin(self) -> None:
        self._passes.feed.drop_leftovers()
        if self._patience(self._ledger.route).candidate not in {None, self._intent.target}:
            self._patience(self._lease.reroute, None)  # one that was given up
        self._patience(self._ledger.note, self._lease.name, self._intent.model_dump_json())

    def _go(self) -> None:
        model = self._deployment.load(self._intent.target)  # canaries are looked at here
        self._missing.clear()
        if self._intent.now:
            self._join()
            self._switch()
            self._catch_up()
            return
        self._check_readable()
        self._create()
        self._backfill()
        self._gather()
        self._index()
        self._join()
        self._step("last lap", "copying what came before workers wrote to both")
        self._copy_until_nothing_lacks()
        self._verify(model)
        self._switch()

    def _catch_up(self) -> None:
        self._missing.clear()  # of a run that was cut off here
        lacking = sum(len(page.lacking) for page in self._passes.pages())
        self._step("catch up", f"{lacking:,} records are missing until they are copied")
        self._copy_until_nothing_lacks()
        self._gather()

    def _check_readable(self) -> None:
        self._step("check", "which records can the model read?")
        found = difference.Unread()
        for page in difference.pages(
            self._store,
            self._intent.source,
            (),
            buried=self._ledger.buried,
            version=self._manifest,
        ):
            found.add(page.unreadable)
        self._refuse(found)
        if found.outlook:
            self._watcher.warn(found.outlook)

    def _refuse(self, unread: difference.Unread) -> None:
        if unread.count and not self._intent.allow_missing:
            count = self._patience(self._store.count, self._intent.source)
            or_now = ", and with --now too" if self._intent.kind == "rollback" else ""
            words = (
                f"{self._intent.version[:12]} can't read {unread.count:,} of {count:,} records, "
                f"which lack what its templates {list(self._manifest.templates)} name: "
                f"{unread.names}; with --allow-missing they stay in {self._intent.source} "
                f"alone{or_now}"
            )
            raise PromotionRefused("; ".join(filter(None, (words, unread.outlook))))

    def _create(self) -> None:
        self._step("create", self._intent.target)
        self._patience(self._store.create, self._intent.target, dimension=self._manifest.dimension)

    def _backfill(self) -> None:
        self._step("backfill", "workers copy, with the new model's vectors")
        before: int | None = None
        while True:
            found = self._passes.once()
            # Where ingest brings more than the backfill can copy, this gets no nearer.
            is_no_nearer = before is not None and found.lacking > before / 2
            if found.lacking <= LAST_LAP_RECORDS or is_no_nearer:
                return
            before = found.lacking

    def _index(self) -> None:
        if self._deployment.indexes_by_itself:
            self._step("index", "waiting until queries of the new collection are fast")
            for _ in range(INDEX_WAITS):
                if self._patience(self._store.finish, self._intent.target):
                    return
                self._check()
                self._watcher.warn("the index is not complete yet")

    def _join(self) -> None:
        self._step("candidate", "workers write to both collections")
        self._patience(self._lease.reroute, self._intent.target)

    def _copy_until_nothing_lacks(self) -> None:
        while left := self._patience(self._ledger.stragglers):
            self._check()
            self._passes.listen(
                -left, f"{left} batches in hand were begun before: do their workers run?"
            )
            time.sleep(LOOK_S)
        for _ in range(IDLE_PASSES):
            while (found := self._passes.once()).job.stored:
                pass
            self._refuse(found.unread)
            if found.lacking == 0 or (self._intent.allow_missing and found.job.dead):
                break
        else:
            raise PromotionRefused(
                f"{found.lacking:,} records can't be copied to {self._intent.target}; "
                "the workers' logs say why"
            )
        self._list_left(found, self._intent.source)

    def _gather(self) -> None:
        """Copy what only older collections have: what the models since then couldn't read.

        Nobody writes to these collections any more, so one pass over each is enough.
        """
        live = [self._intent.source]
        there = self._patience(self._store.collections, self._deployment.alias)
        older = [name for name in there if name not in {self._intent.source, self._intent.target}]
        if older:
            self._step("gather", f"copying what only older collections have: {', '.join(older)}")
        for index, name in enumerate(older):
            besides = [*live, *older[:index]]
            found = self._passes.once(name, besides=besides)
            self._list_left(found, name, besides=besides)

    def _list_left(self, found: Pass, source: str, *, besides: Sequence[str] = ()) -> None:
        """Keep what is left in `source` alone, where a pass found that something is."""
        if found.unread.count or found.job.dead:
            for page in self._passes.pages(source, besides=besides):
                self._missing.add(chain(page.unreadable, page.lacking))

    def _verify(self, model: Target) -> None:
        self._step("verify", "canaries, and a sample of the new vectors")
        self._patience(check_samples, self._store, model)

    def _switch(self) -> None:
        self._step("switch", f"the alias moves to {self._intent.target}")
        known = self._patience(self._ledger.found, self._deployment.alias)
        self._patience(self._store.assign, self._intent.target, deployment=known.id)
        late = self._untaken()
        unread = difference.Unread()
        unread.add(dict.fromkeys(late, 0))
        self._refuse(unread)
        self._missing.add_new(late)
        self._patience(self._move_the_alias)

    def _move_the_alias(self) -> None:
        self._lease.renew()
        self._check()
        if self._ledger.route().candidate != self._intent.target:
            raise LedgerUnavailable("Redis lost the route of this promotion; run it again")
        self._store.switch(
            self._deployment.alias,
            expected=self._intent.source,
            collection=self._intent.target,
        )

    def _untaken(self) -> list[str]:
        """What the candidate could not take when it came, and still has not."""
        ids = {point_id(doi): doi for doi in self._patience(self._ledger.untaken)}
        there = self._patience(self._store.read, self._intent.target, list(ids))
        wanted = self._patience(self._store.read, self._intent.source, list(ids))
        return [
            doi for i, doi in ids.items() if i in wanted and not covers(there.get(i), wanted[i])
        ]

    def _check(self) -> None:
        self._lease.check()
        self._check_workers()

    def _step(self, name: str, words: str) -> None:
        self._lease.check()
        self._watcher.step(name, words)
