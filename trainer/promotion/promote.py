"""Making versions live: promotion, and rollback to the one before."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from schemas.history import Entry
from schemas.model import collection_name
from trainer.errors import PromotionRefused
from trainer.history import History
from trainer.promotion.intent import Intent
from trainer.promotion.missing import Missing
from trainer.promotion.move import Move
from trainer.promotion.passes import Deployment, Watcher
from trainer.stores import Stores
from worker.errors import ModelError, SwitchRefused
from worker.ledger.sole import Lease, sole
from worker.store.names import version_in

LEASE = "promotion"


class Promoted(NamedTuple):
    """What a promotion or a rollback did.

    `missing` says how many records the version can't read; they stay in the collections before,
    and the file `listed` has their DOIs, a line each.
    """

    version: str
    previous: str
    collection: str
    points: int
    missing: int
    listed: Path | None
    seconds: float


class Promoter:
    """Makes versions live, one at a time, while ingest and queries go on.

    Every operation may be cut off at any point; given again, it goes on. What it must know for
    that is in the alias, the collections, the ledger's route, and the ledger's note of what was
    begun.
    """

    def __init__(
        self, deployment: Deployment, stores: Stores, *, check: Callable[[], None]
    ) -> None:
        """`check` raises where the workers of this process, if it has any, have failed."""
        self.deployment = deployment
        self.ledger, self.store = deployment.ledger, deployment.store
        self.stores = stores
        self.history = History(stores.root / "history.jsonl")
        self._patience = deployment.patience
        self._check = check

    def live(self) -> str | None:
        """The version of the live collection; None before there is one. Raises `ModelError`."""
        live = self._live()
        return self._version(live) if live else None

    def previous(self) -> str | None:
        """The version that was live before the present one, as far as the history knows."""
        live = self._live()
        for entry in reversed(self.history.entries()):
            if entry.outcome == "switched" and live and entry.version == self._version(live):
                return entry.previous
        return None

    def promote(
        self,
        version: str,
        *,
        replacing: str | None = None,
        allow_missing: bool = False,
        watcher: Watcher,
    ) -> Promoted:
        """Make `version` (an id or its beginning) the live one.

        `replacing` is the version that must be live, if that matters. Raises `PromotionRefused`
        where it isn't, where `version` can't read every record (unless `allow_missing`), or where
        nothing is live yet; `Busy` where another promotion runs, `ModelError`, `LeaseLost`, and
        what store and ledger raise.
        """
        with self.alone() as lease:
            self._complete(lease, watcher)
            if replacing is not None and (live := self.live()) != replacing:
                raise PromotionRefused(f"{(live or 'nothing')[:12]} is live by now")
            intent = self._intend("promote", version, allow_missing=allow_missing)
            done = self._carry_out(intent, lease, watcher)
        return self._indexed(done)

    def rollback(
        self,
        version: str | None = None,
        *,
        now: bool = False,
        allow_missing: bool = False,
        watcher: Watcher,
    ) -> Promoted:
        """Make the version before the live one live again, or `version`.

        First what came since is copied, then the alias moves; refused where the version can't read
        every record, unless `allow_missing`. With `now` the alias moves first, whatever the version
        can read, and records are missing until the rest has caught up. What it can't read stays in
        the other collections, listed. Raises as `promote` does.
        """
        allow_missing = allow_missing or now  # an emergency isn't the time to ask
        with self.alone() as lease:
            begun = self.begun()
            if version is None and begun and begun.kind == "rollback" and self._goes_on(begun):
                allows = begun.allow_missing or allow_missing
                terms = {"now": begun.now or now, "allow_missing": allows}
                intent = begun.model_copy(update=terms)
            else:
                self._complete(lease, watcher)
                wanted = self._wanted(version)
                intent = self._intend("rollback", wanted, allow_missing=allow_missing, now=now)
            if intent.target not in self._patience(self.store.collections, self._alias):
                raise PromotionRefused(
                    f"{intent.version[:12]} has no collection any more: promote it instead"
                )
            done = self._carry_out(intent, lease, watcher)
        return self._indexed(done)

    def alone(self) -> AbstractContextManager[Lease]:
        """The lease without which nothing is moved or removed; raises `Busy`."""
        return sole(self.ledger, LEASE, lease_s=self.stores.settings.ingest.lease_s)

    def _wanted(self, version: str | None) -> str:
        wanted = version or self.previous()
        if wanted is None:
            raise PromotionRefused(
                "the history knows of no version before the live one: say which; "
                "`doi-trainer versions` lists them"
            )
        return wanted

    def begun(self) -> Intent | None:
        """What was begun and has not ended: under way, or cut off."""
        raw = self._patience(self.ledger.noted, LEASE)
        return Intent.model_validate_json(raw) if raw else None

    def _indexed(self, done: Promoted) -> Promoted:
        """Build the index where the store doesn't by itself: so long that a lease would run out."""
        if not self.deployment.indexes_by_itself:
            self.store.finish(done.collection)
        return done

    def _goes_on(self, begun: Intent) -> bool:
        return self._live() in {begun.source, begun.target}

    def _complete(self, lease: Lease, watcher: Watcher) -> None:
        """Finish what was cut off after the alias had moved: else its records might be lost."""
        begun = self.begun()
        if begun and begun.target == self._live():
            self._carry_out(begun, lease, watcher)

    def _intend(
        self,
        kind: Literal["promote", "rollback"],
        version: str,
        *,
        allow_missing: bool,
        now: bool = False,
    ) -> Intent:
        manifest = self.stores.registry.get(version)[1]
        live = self._live()
        if live is None:
            raise PromotionRefused(
                f"there is no alias {self._alias!r} yet: ingest first; DOIVEC_MODEL__NAME says "
                "with which model"
            )
        return Intent(
            kind=kind,
            version=manifest.version,
            source=live,
            target=collection_name(self._alias, manifest.version),
            allow_missing=allow_missing,
            now=now,
            started_at=datetime.now(UTC),
        )

    def _carry_out(self, intent: Intent, lease: Lease, watcher: Watcher) -> Promoted:
        began = time.monotonic()
        missing = Missing(self.stores.root / "missing" / f"{intent.target}.txt")
        move = Move(
            self.deployment,
            intent,
            manifest=self.stores.registry.look(intent.version)[1],
            lease=lease,
            missing=missing,
            check=self._check,
            watcher=watcher,
        )
        if intent.source != intent.target:  # else it is live already
            self._run(move, intent)
        promoted = self._promoted(intent, missing, began)
        if intent.source != intent.target:
            before = promoted.previous[:12]
            words = f"replaces {before}, with {promoted.points:,} records"
            self._remember(intent, "switched", words=words, promoted=promoted)
        move.end()
        missed = missing.count()
        return promoted._replace(missing=missed, listed=missing.path if missed else None)

    def _run(self, move: Move, intent: Intent) -> None:
        try:
            move.run()
        except (PromotionRefused, ModelError, SwitchRefused) as error:
            if not move.is_switched:  # else it must be completed, and nothing is forgotten
                move.end()
                self._remember(intent, "refused", words=str(error))
            raise

    def _promoted(self, intent: Intent, missing: Missing, began: float) -> Promoted:
        missed = missing.count()
        return Promoted(
            version=intent.version,
            previous=self._version(intent.source),
            collection=intent.target,
            points=self._patience(self.store.count, intent.target),
            missing=missed,
            listed=missing.path if missed else None,
            seconds=time.monotonic() - began,
        )

    def _remember(
        self, intent: Intent, outcome: str, *, words: str, promoted: Promoted | None = None
    ) -> None:
        known = [e for e in self.history.entries() if e.started_at == intent.started_at]
        if known and known[-1].kind == intent.kind:
            return  # cut off just after it was remembered
        details = {"records": promoted.points, "missing": promoted.missing} if promoted else {}
        self.history.append(
            Entry(
                kind=intent.kind,
                started_at=intent.started_at,
                ended_at=datetime.now(UTC),
                outcome=outcome,
                version=intent.version,
                previous=self._version(intent.source),
                words=words,
                details=details | {"now": intent.now},
            )
        )

    def _live(self) -> str | None:
        live = self._patience(self.store.live, self._alias)
        if live is not None:
            version_in(self._alias, live)  # else it isn't doivec's, and nothing is moved
        return live

    def _version(self, collection: str) -> str:
        return self.stores.registry.look(version_in(self._alias, collection))[1].version

    @property
    def _alias(self) -> str:
        return self.deployment.alias
