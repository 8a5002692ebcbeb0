"""Refine: from the pairs to a better live model, in one go; it goes on where it was cut off."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.evaluation import Verdict
from schemas.history import Entry
from trainer import assessment, recipe, runs
from trainer.bootstrap import open_promoter, open_stores
from trainer.errors import PromotionRefused, TrainingInterrupted
from trainer.evaluate import Progress
from trainer.history import History
from trainer.pending import Wishes
from trainer.records import read_record
from trainer.roles import Promoted, Promoter, Watcher
from trainer.stores import Stores
from worker.errors import (
    Busy,
    DeviceLost,
    LeaseLost,
    LedgerUnavailable,
    StoreBusy,
    StoreUnavailable,
)
from worker.settings import Settings

LIVE = "live"
PROMOTED, REFUSED, NOTHING_NEW, FAILED = "promoted", "refused", "nothing new", "failed"
# What ends a refine for now: the same one goes on later, and has no entry before it has ended.
GOES_ON = (
    TrainingInterrupted,
    Busy,
    LeaseLost,
    LedgerUnavailable,
    StoreUnavailable,
    StoreBusy,
    DeviceLost,
)
SHORT = 12


class _End(NamedTuple):
    outcome: str
    words: str
    version: str | None = None
    previous: str | None = None
    details: Mapping[str, Any] = MappingProxyType({})


class _Steps(NamedTuple):
    say: Callable[[str], None]
    progress: Progress
    check: Callable[[], None]

    def step(self, name: str, words: str) -> None:
        self.check()
        self.say(f"{name}: {words}")

    def warn(self, words: str) -> None:
        self.say(words)


class Refine:
    """Trains, evaluates, asks the gate, promotes; and says in the history what came of it.

    The promoter is opened for moments only: what it holds open, other commands want. `told_to_stop`
    is asked often; `check` raises `LeaseLost` where this process is no longer the only one.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        open_promoter: Callable[[], AbstractContextManager[Promoter]],
        history: History,
        watcher: Watcher,
        told_to_stop: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._stores = stores
        self._open_promoter = open_promoter
        self._history = history
        self._watcher = watcher
        self._told_to_stop = told_to_stop
        self._check = check

    @classmethod
    def connect(
        cls,
        settings: Settings,
        *,
        watcher: Watcher,
        told_to_stop: Callable[[], bool] = lambda: False,
        check: Callable[[], None] = lambda: None,
    ) -> "Refine":
        """A refine on the stores of these settings."""
        return cls(
            open_stores(settings),
            open_promoter=lambda: open_promoter(settings, command="refine"),
            history=History.below(settings.data_dir),
            watcher=watcher,
            told_to_stop=told_to_stop,
            check=check,
        )

    def run(self, wishes: Wishes) -> Entry:
        """Refine once, and return the entry of the history that says what came of it.

        Raises what ends it for now (see `GOES_ON`), and after an entry what makes it fail.
        """
        started_at = datetime.now(UTC)
        try:
            end = self._refine(wishes)
        except GOES_ON:
            raise
        except Exception as error:
            words = (str(error) or repr(error)).splitlines()[0]
            self._note(_End(FAILED, words), started_at)
            raise
        return self._note(end, started_at)

    def _refine(self, wishes: Wishes) -> _End:
        live = self._live()
        if live is None:
            return _End(NOTHING_NEW, "there is no collection yet; ingest first")
        parent = live if wishes.parent == LIVE else wishes.parent
        plan = runs.plan(self._stores, recipe.load(wishes.recipe), parent=parent)
        asked = self._question(plan, wishes)
        before = None if wishes.force else self._answer(asked, live)
        if before is not None:
            when = f"{before.ended_at:%Y-%m-%d %H:%M} UTC"
            return _End(NOTHING_NEW, f"nothing new since {when}: {before.words}", before.version)
        is_made = wishes.parent == LIVE and not wishes.force and self._made_live(plan, live)
        version = live if is_made else self._train(plan)
        facts = {"asked": asked, "run": plan.folder.name, "recipe": plan.recipe.name}
        end = self._judge(version, live, plan=plan, allow_missing=wishes.allow_missing)
        return end._replace(details={**facts, **end.details})

    def _question(self, plan: runs.Plan, wishes: Wishes) -> str:
        """A digest of all that decides what comes of a refine, besides what is live.

        What is trained from the live model counts as the same, whichever that is: once it was
        promoted, the same pairs are no news.
        """
        known = {
            "recipe": plan.recipe.model_dump(mode="json"),
            "parent": LIVE if wishes.parent == LIVE else plan.parent.version,
            "data": [plan.dataset, plan.metadata, plan.held_out],
            "packages": runs.packages(),
            "gate": self._stores.settings.gate.model_dump(mode="json"),
            "allow_missing": wishes.allow_missing,
        }
        return sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]

    def _answer(self, asked: str, live: str) -> Entry | None:
        """The end that this question has led to, beside the model that is live.

        Also where it was promoted and rolled back since: that was somebody's decision.
        """
        for entry in reversed(self._history.entries()):
            is_same = entry.kind == "refine" and entry.details.get("asked") == asked
            if is_same and live in (entry.version, entry.previous):
                return entry
        return None

    def _made_live(self, plan: runs.Plan, live: str) -> bool:
        """Whether the live model is what this recipe made of these pairs, whatever it began with.

        So where a refine from the live model was killed after its switch, before its entry.
        """
        record = read_record(self._stores.registry.get(live)[0])
        return record is not None and (
            record.recipe == plan.recipe.model_dump(mode="json")
            and (record.dataset, record.metadata) == (plan.dataset, plan.metadata)
            and record.held_out == plan.held_out
        )

    def _train(self, plan: runs.Plan) -> str:
        made, dropped = plan.examples, plan.training
        self._watcher.say(
            f"recipe {plan.recipe.name} from {plan.parent.name[:SHORT]}: {made.trained:,} pairs; "
            f"left out {dropped.group_dropped + dropped.doi_dropped:,} that touch the held-out "
            f"set, {made.unread:,} without a text"
        )
        try:
            with self._watcher.training(plan.recipe.name) as on_step:
                version = runs.train(
                    self._stores, plan, on_step=on_step, should_stop=self._should_stop
                )
        except TrainingInterrupted:
            self._check()
            raise
        self._watcher.say(f"registered {version}")
        return version

    def _judge(self, version: str, live: str, *, plan: runs.Plan, allow_missing: bool) -> _End:
        if version == live:
            return self._complete(version, allow_missing=allow_missing)
        stores, held_out = self._stores, self._stores.held_out.load(plan.held_out)
        challenger = assessment.version_subject(stores, version)
        with self._watcher.evaluating() as on_progress:
            told = self._until_told(on_progress)
            assessment.write_card(stores, challenger, held_out, on_progress=told)
            verdict = assessment.compare(
                stores,
                assessment.version_subject(stores, live),
                challenger,
                held_out,
                rules=stores.settings.gate,
                on_progress=told,
            )
        if not verdict.promote:
            return _refused(verdict)
        self._watcher.say(f"the gate says yes: {verdict.reasons[0]}")
        return self._promote(verdict, plan=plan, allow_missing=allow_missing)

    def _promote(self, verdict: Verdict, *, plan: runs.Plan, allow_missing: bool) -> _End:
        version, champion = verdict.challenger, verdict.champion
        facts = {"reasons": list(verdict.reasons), "held_out": verdict.held_out}
        with self._open_promoter() as promoter, self._promoting() as steps:
            live = promoter.live()
            if live == champion:
                try:
                    done = promoter.promote(version, allow_missing=allow_missing, watcher=steps)
                except PromotionRefused as error:
                    words = f"the promotion is refused: {error}"
                    return _End(REFUSED, words, version, champion, facts)
                return _promoted(version, done, why=verdict.reasons[0], facts=facts)
        if live is None:
            return _End(NOTHING_NEW, "there is no collection any more", version)
        self._watcher.say(f"{live[:SHORT]} is live by now: the gate is asked again")
        return self._judge(version, live, plan=plan, allow_missing=allow_missing)

    def _complete(self, version: str, *, allow_missing: bool) -> _End:
        """The version is live; a promotion to it that was cut off after the switch is completed."""
        with self._open_promoter() as promoter, self._promoting() as steps:
            done = promoter.promote(version, allow_missing=allow_missing, watcher=steps)
        if done.previous == version:
            words = "what this recipe makes of these pairs is live already"
            return _End(NOTHING_NEW, words, version)
        return _promoted(version, done, why="what was cut off is complete", facts={})

    def _live(self) -> str | None:
        with self._open_promoter() as promoter:
            return promoter.live()

    @contextmanager
    def _promoting(self) -> Iterator[_Steps]:
        self._go_on()
        with self._watcher.promoting() as on_progress:
            told = self._until_told(on_progress)
            yield _Steps(self._watcher.say, told, self._go_on)

    def _should_stop(self) -> bool:
        try:
            self._check()
        except LeaseLost:
            return True
        return self._told_to_stop()

    def _go_on(self) -> None:
        self._check()
        if self._told_to_stop():
            raise TrainingInterrupted("stopped; the same command goes on from there")

    def _until_told(self, on_progress: Progress) -> Progress:
        def tell(done: int, total: int) -> None:
            self._go_on()
            on_progress(done, total)

        return tell

    def _note(self, end: _End, started_at: datetime) -> Entry:
        entry = Entry(
            kind="refine",
            started_at=started_at,
            ended_at=datetime.now(UTC),
            outcome=end.outcome,
            version=end.version,
            previous=end.previous,
            words=end.words,
            details=dict(end.details),
        )
        self._history.append(entry)
        return entry


def _promoted(version: str, done: Promoted, *, why: str, facts: Mapping[str, Any]) -> _End:
    words = f"{version[:SHORT]} replaces {done.previous[:SHORT]}: {why}"
    details = {**facts, "points": done.points, "missing": done.missing}
    return _End(PROMOTED, words, version, done.previous, details)


def _refused(verdict: Verdict) -> _End:
    words = f"the gate refuses {verdict.challenger[:SHORT]}: {' '.join(verdict.reasons)}"
    facts = {"reasons": list(verdict.reasons), "held_out": verdict.held_out}
    return _End(REFUSED, words, verdict.challenger, verdict.champion, facts)
