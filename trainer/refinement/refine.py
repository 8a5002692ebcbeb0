"""Refine: from the pairs to a better live model, in one go; it goes on where it was cut off."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import sha256

from schemas.evaluation import Verdict
from schemas.history import Entry
from trainer.card.lineage import kept_words
from trainer.errors import PromotionRefused, TrainingInterrupted
from trainer.evaluation import assessment, subjects
from trainer.evaluation.evaluate import Progress
from trainer.history import History
from trainer.records import read_record, read_records
from trainer.refinement.ends import (
    PROMOTED,
    REFUSED,
    SHORT,
    End,
    facts_of,
    nothing_new,
    promoted,
    refused,
)
from trainer.refinement.pending import Wishes
from trainer.refinement.renewal import renew_if_due
from trainer.refinement.roles import Promoter, PromotionSteps, Watcher
from trainer.stores import Stores
from trainer.training import recipe, runs
from worker.errors import (
    Busy,
    DeviceLost,
    LeaseLost,
    LedgerUnavailable,
    StoreBusy,
    StoreUnavailable,
)

LIVE = "live"
FAILED = "failed"
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
            self._history.append(End(FAILED, words).entry(started_at))
            raise
        entry = end.entry(started_at)
        self._history.append(entry)
        return entry

    def _refine(self, wishes: Wishes) -> End:
        live = self._live()
        if live is None:
            return nothing_new("there is no collection yet; ingest first")
        parent = live if wishes.parent == LIVE else wishes.parent
        wanted = recipe.load(wishes.recipe)
        self._renew(wanted, live)
        plan = runs.plan(self._stores, wanted, parent=parent)
        asked = self._question(plan, wishes)
        before = None if wishes.force else self._answer(asked, live)
        if before is not None:
            when = f"{before.ended_at:%Y-%m-%d %H:%M} UTC"
            return nothing_new(f"nothing new since {when}: {before.words}", before.version)
        is_made = wishes.parent == LIVE and not wishes.force and self._made_live(plan, live)
        if not is_made:
            self._check_judges(plan, live)
        version = live if is_made else self._train(plan)
        facts = {"asked": asked, "run": plan.folder.name, "recipe": plan.recipe.name}
        end = self._judge(version, live, plan=plan, wishes=wishes)
        return end._replace(details={**facts, **end.details})

    def _renew(self, wanted: recipe.Recipe, live: str) -> None:
        words = renew_if_due(
            self._stores,
            lambda: subjects.version_subject(self._stores, live),
            templates=wanted.serving,
            now=datetime.now(UTC),
        )
        if words is not None:
            self._watcher.say(words)

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
        """The end that this question has led to.

        What was promoted stays answered, also where it was rolled back since: that was somebody's
        decision. What the gate refused is answered beside the model that is live. A promotion that
        was refused is no answer: the records may have their titles by now.
        """
        for entry in reversed(self._history.entries()):
            is_same = entry.kind == "refine" and entry.details.get("asked") == asked
            is_judged = live in (entry.version, entry.previous) and not entry.details.get("gate")
            if is_same and (entry.outcome == PROMOTED or is_judged):
                return entry
        return None

    def _was_rolled_back(self, version: str) -> Entry | None:
        """The rollback away from this version, where it was not made live again since."""
        switches = [e for e in self._history.entries() if e.outcome == "switched"]
        for entry in reversed(switches):
            if entry.version == version:
                return None
            if entry.kind == "rollback" and entry.previous == version:
                return entry
        return None

    def _made_live(self, plan: runs.Plan, live: str) -> bool:
        """Whether the live model is what this recipe made of these pairs, whatever it began with.

        So where a refine from the live model was killed after its switch, before its entry.
        """
        made_of = (plan.dataset, plan.metadata, plan.held_out)
        return any(
            record.recipe == plan.recipe.model_dump(mode="json")
            and (record.dataset, record.metadata, record.held_out) == made_of
            for record in read_records(self._stores.registry.get(live)[0])
        )

    def _check_judges(self, plan: runs.Plan, live: str) -> None:
        """Raise `EvaluationError` before the training where the gate could only refuse."""
        champion = subjects.version_subject(self._stores, live)
        assessment.check_parent(champion, subjects.find(self._stores, plan.parent.name))
        assessment.check_judges(
            self._stores,
            champion,
            self._stores.held_out.load(plan.held_out).at_hand(),
            templates=plan.recipe.serving,
            rules=self._stores.settings.gate,
        )

    def _train(self, plan: runs.Plan) -> str:
        made, dropped = plan.examples, plan.training
        for words in plan.told:
            self._watcher.say(words)
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
        self._watcher.say(f"registered {version[:SHORT]}")
        record = read_record(self._stores.registry.get(version)[0])
        if record and (kept := kept_words(record)):
            self._watcher.say(f"kept weights: {kept}")
        return version

    def _judge(self, version: str, live: str, *, plan: runs.Plan, wishes: Wishes) -> End:
        if version == live:
            return self._complete(version, allow_missing=wishes.allow_missing)
        if not wishes.force and (back := self._was_rolled_back(version)):
            when = f"{back.ended_at:%Y-%m-%d %H:%M} UTC"
            words = f"{version[:SHORT]} was rolled back on {when}; --force promotes it again"
            return End(REFUSED, words, version, live)
        stores, held_out = self._stores, self._stores.held_out.load(plan.held_out).at_hand()
        challenger = subjects.version_subject(stores, version)
        with self._watcher.evaluating() as on_progress:
            told = self._until_told(on_progress)
            assessment.write_card(stores, challenger, held_out, on_progress=told)
            verdict = assessment.compare(
                stores,
                subjects.version_subject(stores, live),
                challenger,
                held_out,
                rules=stores.settings.gate,
                on_progress=told,
            )
        if not verdict.promote:
            return refused(f"the gate refuses {version[:SHORT]}: {verdict.reasons[0]}", verdict)
        self._watcher.say(f"the gate says yes: {verdict.reasons[0]}")
        return self._promote(verdict, allow_missing=wishes.allow_missing)

    def _promote(self, verdict: Verdict, *, allow_missing: bool) -> End:
        with self._open_promoter() as promoter, self._promoting() as steps:
            try:
                done = promoter.promote(
                    verdict.challenger,
                    replacing=verdict.champion,
                    allow_missing=allow_missing,
                    watcher=steps,
                )
            except PromotionRefused as error:
                end = refused(f"the promotion is refused: {error}", verdict)
                return end._replace(details={**end.details, "gate": "yes"})
        return promoted(verdict.challenger, done, why=verdict.reasons[0], facts=facts_of(verdict))

    def _complete(self, version: str, *, allow_missing: bool) -> End:
        """The version is live; a promotion to it that was cut off after the switch is completed."""
        with self._open_promoter() as promoter, self._promoting() as steps:
            promoter.promote(version, replacing=version, allow_missing=allow_missing, watcher=steps)
        return nothing_new("what this recipe makes of these pairs is live already", version)

    def _live(self) -> str | None:
        with self._open_promoter() as promoter:
            return promoter.live()

    @contextmanager
    def _promoting(self) -> Iterator[PromotionSteps]:
        self._go_on()
        with self._watcher.promoting() as on_progress:
            told = self._until_told(on_progress)
            yield PromotionSteps(self._watcher.say, told, self._go_on)

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
