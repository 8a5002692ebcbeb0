"""Refine as it runs: once for each new thing, one at a time, and on after a crash."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

import pytest
import redis as plain_redis
from celery.beat import PersistentScheduler
from kombu.utils.imports import symbol_by_name

from schemas.history import Entry
from schemas.model import ModelVersion
from tests.support.deployment import Deployment, deployed
from tests.support.learnable import DOIS, EASILY, hold_out, write_pairs, write_recipe
from tests.support.servers import RedisServer, wait_until
from tests.support.shell import SCRIPTS, TRAINER
from tests.support.tiny_model import make_tiny_model
from trainer.alone import alone
from trainer.bootstrap import open_promoter, open_stores
from trainer.errors import (
    EvaluationError,
    PromotionRefused,
    TrainingError,
    TrainingInterrupted,
)
from trainer.history import History
from trainer.promotion.passes import Watcher as Steps
from trainer.refinement.desk import STARTS, Logged, Taker
from trainer.refinement.pending import Pending, Request, Wishes
from trainer.refinement.refine import Refine
from trainer.tasks import QUEUE, REFINE_TASK, beat_options, make_app
from trainer.training import judging
from worker.errors import Busy, LeaseLost, StoreUnavailable
from worker.ledger.facts import BEATS
from worker.ledger.ledger import Ledger
from worker.settings.environment import Settings
from worker.settings.training import GateSettings

EASY = GateSettings(metric="roc_auc", guards={}, slice_margin=2, minimum_groups=2)
HARD = EASY.model_copy(update={"metric": "recall@10"})


class Done(NamedTuple):
    previous: str
    collection: str
    points: int
    missing: int


class Shelf:
    """A promoter that remembers what is live, and what it was asked."""

    def __init__(self, live: str | None, *, refuses: str = "") -> None:
        self.version = live
        self.promotions: list[str] = []
        self.refuses = refuses
        self.error: Exception | None = None
        self.is_open = False

    @contextmanager
    def open(self) -> Iterator["Shelf"]:
        assert not self.is_open
        self.is_open = True
        try:
            yield self
        finally:
            self.is_open = False

    def live(self) -> str | None:
        return self.version

    def promote(
        self, version: str, *, replacing: str | None, allow_missing: bool, watcher: Steps
    ) -> Done:
        if replacing is not None and replacing != self.version:
            raise PromotionRefused(f"{self.version} is live by now")
        if version == self.version:
            return Done(version, "dois-x", 7, 0)
        if self.error:
            raise self.error
        if self.refuses and not allow_missing:
            raise PromotionRefused(self.refuses)
        watcher.step("copy", "7 records")
        watcher.progress(7, 7)
        previous, self.version = self.version or "", version
        self.promotions.append(version)
        return Done(previous, "dois-x", 7, 0)


class Bench:
    """A data directory with pairs, a registered tiny model, and a refine on them."""

    def __init__(self, folder: Path, *, gate: GateSettings = EASY) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder / "data", gate=gate, embed={"threads": 1})
        self.stores = open_stores(self.settings)
        self.stores.pairs.import_files([str(write_pairs(folder / "pairs.csv"))], dry_run=False)
        hold_out(self.stores)
        self.history = History.below(self.settings.data_dir)
        self.first = self.register(make_tiny_model(folder / "tiny"))
        self.shelf = Shelf(self.first.version)
        self.recipe = write_recipe(folder / "tiny.toml")

    def register(self, model: Path) -> ModelVersion:
        return self.stores.registry.register(model, name="tiny", templates=("{doi}",))

    def refine(self, *, stop: Callable[[], bool] = lambda: False, **wishes: Any) -> Entry:
        asked = {"recipe": str(self.recipe), "parent": "live"} | wishes
        made = Refine(
            open_stores(self.settings),
            open_promoter=self.shelf.open,
            history=self.history,
            watcher=Logged(),
            told_to_stop=stop,
        )
        return made.run(Wishes.of(self.settings.refine, **asked))

    def outcomes(self) -> list[str]:
        return [entry.outcome for entry in self.history.entries()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_better_model_is_promoted_and_the_same_again_is_no_news(bench: Bench) -> None:
    entry = bench.refine()
    assert (entry.outcome, entry.previous) == ("promoted", bench.first.version), entry.words
    assert bench.shelf.promotions == [entry.version] == [bench.shelf.version]
    assert entry.details["points"] == 7
    assert "better by more than chance" in entry.details["reasons"][0]
    assert "better by more than chance" in entry.words
    path = bench.stores.registry.get(entry.version or "")[0]
    assert "## Evaluation" in (path / "README.md").read_text()
    again = bench.refine()
    assert again.outcome == "nothing new"
    assert again.words.startswith("nothing new since ")
    assert again.words.endswith(entry.words)
    assert bench.refine().words == again.words
    assert bench.outcomes() == ["promoted", "nothing new", "nothing new"]
    bench.shelf.version = bench.first.version  # rolled back: that was somebody's decision
    assert bench.refine().outcome == "nothing new"
    forced = bench.refine(force=True)
    assert (forced.outcome, forced.version) == ("promoted", entry.version)
    more = bench.folder / "more.csv"
    more.write_text(f"doi_a,doi_b,label\n{DOIS[0]},{DOIS[-1]},0\n")
    bench.stores.pairs.import_files([str(more)], dry_run=False)
    assert bench.refine().outcome != "nothing new"


def test_the_gate_says_no_and_another_champion_or_gate_is_asked_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate=HARD)
    entry = bench.refine()
    assert entry.outcome == "refused"
    assert entry.words.startswith(f"the gate refuses {(entry.version or '')[:12]}: ")
    assert "not better by more than chance" in entry.words
    assert bench.shelf.promotions == []
    assert bench.refine().outcome == "nothing new"
    other = bench.register(make_tiny_model(tmp_path / "other", seed=3))
    bench.shelf.version = other.version
    assert bench.refine().previous == other.version
    bench.settings = bench.settings.model_copy(update={"gate": EASY})
    assert bench.refine().outcome == "promoted"


def test_what_the_gate_could_only_refuse_is_not_trained(tmp_path: Path) -> None:
    bench = Bench(tmp_path, gate=EASY.model_copy(update={"minimum_groups": 10_000}))
    with pytest.raises(EvaluationError, match="the gate asks for 10,000"):
        bench.refine()
    assert not (bench.stores.root / "runs").exists()
    assert bench.outcomes() == ["failed"]


def test_new_pairs_and_a_set_frozen_again_refine_on(bench: Bench) -> None:
    assert bench.refine().outcome == "promoted"
    more = bench.folder / "more.csv"
    rows = [f"10.1016/n{n},10.1109/n{n},{n % 2},new-{n // 2}" for n in range(60)]
    more.write_text("doi_a,doi_b,label,group\n" + "\n".join(rows) + "\n")
    bench.stores.pairs.import_files([str(more)], dry_run=False)
    before = bench.stores.held_out.load()
    again = judging.freeze(bench.stores, share=0.3, corpus=0)
    assert again.groups > before.groups
    for parent in ("live", "base"):
        assert bench.refine(parent=parent).outcome in {"promoted", "refused"}


def test_questions_that_are_old_are_renewed_before_the_training(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert bench.refine().outcome == "promoted"
    first = bench.stores.held_out.load()
    note = bench.stores.root / "held_out" / first.id / "held_out.json"
    long_ago = (datetime.now(UTC) - timedelta(days=400)).isoformat()
    note.write_text(json.dumps(json.loads(note.read_text()) | {"since": long_ago}))
    assert bench.refine().outcome == "nothing new"
    assert "are 400 days old, and stay: no pair can be held out" in caplog.text
    more = bench.folder / "more.csv"
    rows = [f"10.1016/n{n},10.1109/n{n},{n % 2},new-{n // 2}" for n in range(80)]
    more.write_text("doi_a,doi_b,label,group\n" + "\n".join(rows) + "\n")
    bench.stores.pairs.import_files([str(more)])
    assert bench.refine().outcome in {"promoted", "refused"}
    second = bench.stores.held_out.load()
    assert {pair.family for pair in second.pairs} == {"more"}
    assert set(second.retired) == set(first.pairs)
    assert f"renewed as {second.id[:12]}" in caplog.text
    assert bench.refine().outcome == "nothing new", "and is young by now"


def test_a_champion_that_knows_the_answers_is_told_before_the_training(bench: Bench) -> None:
    assert bench.refine().outcome == "promoted"
    first = bench.stores.held_out.load()
    judging.freeze(bench.stores, share=0.5, corpus=0, begin="none")
    runs = list((bench.stores.root / "runs").iterdir())
    for parent in ("live", "base"):
        with pytest.raises(EvaluationError, match=f"hold-out --from {first.id[:12]}"):
            bench.refine(parent=parent)
    assert list((bench.stores.root / "runs").iterdir()) == runs
    judging.freeze(bench.stores, share=0.3, corpus=0, begin=first.id[:12])
    assert bench.refine(parent="base").outcome in {"promoted", "refused"}


def test_a_refused_promotion_ends_well_until_it_is_allowed(bench: Bench) -> None:
    bench.shelf.refuses = "120 records have no title"
    entry = bench.refine()
    assert (entry.outcome, entry.words) == (
        "refused",
        "the promotion is refused: 120 records have no title",
    )
    assert bench.refine().outcome == "refused", "the records may have titles by now: asked again"
    bench.shelf.refuses = ""
    assert bench.refine().outcome == "promoted"


def test_what_was_rolled_back_is_promoted_by_force_alone(bench: Bench) -> None:
    promoted = bench.refine()
    older = bench.register(make_tiny_model(bench.folder / "older", seed=3))
    bench.shelf.version = older.version  # not the one before
    assert bench.refine().outcome == "nothing new"
    (bench.stores.root / "history.jsonl").unlink()  # killed before its entry, and rolled back
    bench.shelf.version = bench.first.version
    now = datetime.now(UTC)
    back = Entry(
        kind="rollback",
        started_at=now,
        ended_at=now,
        outcome="refused",
        version=bench.first.version,
        previous=promoted.version,
    )
    bench.history.append(back)
    assert bench.refine().outcome == "promoted", "a refused rollback moved nothing"
    (bench.stores.root / "history.jsonl").unlink()
    bench.shelf.version = bench.first.version
    bench.history.append(back.model_copy(update={"outcome": "switched"}))
    again = bench.refine()
    assert again.outcome == "refused"
    assert "was rolled back on" in again.words
    assert bench.shelf.version == bench.first.version
    assert bench.refine(force=True).outcome == "promoted"


def test_without_a_collection_it_ends_well_before_anything_is_trained(bench: Bench) -> None:
    bench.shelf.version = None
    assert bench.refine().words == "there is no collection yet; ingest first"
    assert not (bench.stores.root / "runs").exists()


def test_what_fails_is_in_the_history_and_raised(bench: Bench) -> None:
    with pytest.raises(TrainingError):
        Refine(
            open_stores(bench.settings.model_copy(update={"data_dir": bench.folder / "empty"})),
            open_promoter=bench.shelf.open,
            history=bench.history,
            watcher=Logged(),
        ).run(Wishes(recipe=str(bench.recipe), parent="base"))
    (entry,) = bench.history.entries()
    assert entry.outcome == "failed"
    assert entry.words.startswith("there are no pairs")


def test_interrupted_it_leaves_no_entry_and_goes_on(bench: Bench) -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 7

    with pytest.raises(TrainingInterrupted, match="stopped after step"):
        bench.refine(stop=stop)
    assert bench.history.entries() == []
    asked.clear()
    bench.shelf.error = StoreUnavailable("the store is away")
    with pytest.raises(StoreUnavailable):
        bench.refine()
    bench.shelf.error = None
    with pytest.raises(TrainingInterrupted):
        bench.refine(stop=lambda: True)
    assert bench.history.entries() == []
    assert bench.refine().outcome == "promoted"
    assert len(list((bench.stores.root / "runs").iterdir())) == 1


def test_killed_after_the_switch_it_does_not_train_from_its_own_child(bench: Bench) -> None:
    assert bench.refine().outcome == "promoted"
    (bench.stores.root / "history.jsonl").unlink()
    entry = bench.refine()
    assert entry.outcome == "nothing new"
    assert "is live already" in entry.words
    assert len(list((bench.stores.root / "runs").iterdir())) == 1


def test_a_switch_by_someone_else_meanwhile_is_left_alone(bench: Bench) -> None:
    other = bench.register(make_tiny_model(bench.folder / "other", seed=3))

    def switched() -> str:
        first, bench.shelf.version = bench.first.version, other.version
        return first

    asks, bench.shelf.live = bench.shelf.live, switched  # type: ignore[method-assign] - a fake
    entry = bench.refine()
    assert (entry.outcome, bench.shelf.version) == ("refused", other.version)
    assert "is live by now" in entry.words
    bench.shelf.live = asks  # type: ignore[method-assign] - as above
    assert bench.refine().previous == other.version, "the gate is asked again"


# What was asked for


def settings_of(server: RedisServer, **more: Any) -> Settings:
    return Settings(redis={"url": server.url}, **more)  # type: ignore[arg-type] - pydantic reads mappings


def request(name: str, **more: Any) -> Request:
    return Request(id=name, asked_at=datetime.now(UTC), **more)


def test_a_slot_that_fires_twice_is_one_request(ledger: Ledger) -> None:
    pending = Pending(ledger)
    slot = "slot 2026-11-22T03:00+00:00"
    assert pending.ask(request(slot)) == "taken"
    assert pending.ask(request(slot)) == "repeated"
    assert pending.ask(request("task x")) == "busy"
    pending.end()
    assert pending.ask(request(slot)) == "repeated"
    assert pending.read() is None
    assert pending.ask(request("slot 2026-11-29T03:00+00:00")) == "taken"
    pending.end()
    assert pending.ask(request("task x")) == "taken", "it was not taken when it was busy"


class Work:
    """Stands for a refine: says what it is told to say."""

    def __init__(self, pending: Pending, history: History) -> None:
        self.asked: list[Request] = []
        self.error: BaseException | None = None
        self.is_busy = False
        self.losses = 0
        self.taker = Taker(
            pending, refine=self._refine, alone=self._alone, history=history, lost=self._lost
        )

    def _refine(self, asked: Request, _check: Callable[[], None]) -> Entry:
        self.asked.append(asked)
        if self.error:
            raise self.error
        now = datetime.now(UTC)
        return Entry(kind="refine", started_at=now, ended_at=now, outcome="promoted")

    @contextmanager
    def _alone(self) -> Iterator[Callable[[], None]]:
        if self.is_busy:
            raise Busy("someone is at it")
        yield lambda: None

    def _lost(self) -> None:
        self.losses += 1


def test_what_is_pending_is_taken_up_until_it_has_ended(ledger: Ledger, tmp_path: Path) -> None:
    pending, history = Pending(ledger), History(tmp_path / "history.jsonl")
    work = Work(pending, history)
    work.taker.take_up()
    pending.ask(request("task x", wishes={"force": True}))
    work.is_busy = True
    work.taker.take_up()
    assert work.asked == []
    work.is_busy = False
    for error in (StoreUnavailable("away"), TrainingInterrupted("told to stop"), LeaseLost("")):
        work.error = error
        work.taker.take_up()
        assert pending.read() is not None
    work.error = None
    work.taker.take_up()
    assert [asked.wishes for asked in work.asked] == [{"force": True}] * 4
    assert pending.read() is None
    for failure in (TrainingError("no pairs"), MemoryError()):
        work.error = failure
        pending.ask(request(f"task {failure!r}"))
        work.taker.take_up()
        assert pending.read() is None


def test_a_request_that_kills_its_process_every_time_is_given_up(
    ledger: Ledger, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    pending, history = Pending(ledger), History(tmp_path / "history.jsonl")
    work = Work(pending, history)
    pending.ask(request("task x"))
    work.error = Killed()
    for _ in range(STARTS):
        with pytest.raises(Killed):
            work.taker.take_up()
    work.taker.take_up()
    assert len(work.asked) == STARTS
    assert [entry.outcome for entry in history.entries()] == ["failed"]
    assert pending.read() is None


def test_two_beats_send_the_same_slot(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = settings_of(redis_server, data_dir=tmp_path, schedule={"time_zone": "Europe/Berlin"})
    with plain_redis.Redis.from_url(redis_server.url) as client:
        client.flushdb()
        application = make_app(lambda: settings)
        application.conf.update(beat_options(settings))
        for name in ("a", "b"):
            beat = PersistentScheduler(app=application, schedule_filename=str(tmp_path / name))
            assert list(beat.schedule) == ["refine"]
            entry = beat.schedule["refine"]
            entry.last_run_at = datetime.now(UTC) - timedelta(days=8)
            beat.tick()
            beat.tick()
            beat.close()
            # What it keeps can be read again.
            PersistentScheduler(app=application, schedule_filename=str(tmp_path / name)).close()
        application.close()
        messages = [json.loads(raw) for raw in client.lrange(QUEUE, 0, -1)]  # type: ignore[union-attr]
    slots = {json.dumps(json.loads(base64.b64decode(m["body"]))[1]) for m in messages}
    assert [m["headers"]["task"] for m in messages] == [REFINE_TASK, REFINE_TASK]
    assert len(slots) == 1, "the two are of the same slot"
    assert "T03:00+0" in slots.pop()


# Whole processes


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(
        tmp_path,
        model=make_tiny_model(tmp_path / "model"),
        DOIVEC_REFINE__RECIPE=str(write_recipe(tmp_path / "tiny.toml")),
        DOIVEC_REFINE__PARENT="live",
    ) as made:
        stores = open_stores(Settings(data_dir=tmp_path / "data"))
        stores.pairs.import_files([str(write_pairs(tmp_path / "pairs.csv"))], dry_run=False)
        hold_out(stores)
        source = tmp_path / "dois.txt"
        source.write_text("\n".join(DOIS[:300]) + "\n")
        made.start_worker()
        made.settled(made.queue(source))
        yield made


class Program:
    """A doi-trainer in a process of its own."""

    def __init__(self, deployment: Deployment, *words: str, **more: str) -> None:
        log = deployment.folder / "trainer.log"
        self._start = log.stat().st_size if log.exists() else 0
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(SCRIPTS / TRAINER), *words],
                env={**deployment.environ, **EASILY, **more},
                stdout=output,
                stderr=output,
            )
        deployment.workers.append(self)  # type: ignore[arg-type] - ended with the deployment

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    @property
    def words(self) -> str:
        return self._log.read_bytes()[self._start :].decode(errors="replace")

    def is_running(self) -> bool:
        return self.process.poll() is None

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.is_running():
            self.process.send_signal(number)
        return self.process.wait(60)


def ask(deployment: Deployment, **wishes: Any) -> None:
    application = make_app(lambda: deployment.settings)
    application.send_task(REFINE_TASK, kwargs=wishes, queue=QUEUE)
    application.close()


def live(deployment: Deployment) -> str | None:
    with open_promoter(deployment.settings, command="test") as promoter:
        return promoter.live()


def test_refine_as_a_command_on_real_servers(deployment: Deployment) -> None:
    first = live(deployment)
    with alone(deployment.settings, "refine"):
        busy = Program(deployment, "refine")
        assert busy.process.wait(60) == 1
        assert "one refine at a time" in busy.words
        assert busy.words.count("\n") == 1, busy.words
    program = Program(deployment, "refine", "--json")
    assert program.process.wait(200) == 0, program.words
    entry = Entry.model_validate_json(program.words.splitlines()[-1])
    assert (entry.outcome, entry.previous) == ("promoted", first), entry.words
    assert live(deployment) == entry.version
    assert deployment.stored() == 300
    again = Program(deployment, "refine")
    assert again.process.wait(60) == 0
    assert again.words.startswith("nothing new since ")
    shown = Program(deployment, "history", "--json")
    assert shown.process.wait(60) == 0
    kinds = [(one["kind"], one["outcome"]) for one in json.loads(shown.words)]
    assert kinds == [("refine", "nothing new"), ("refine", "promoted"), ("promote", "switched")]


def test_a_trainer_killed_in_training_is_gone_on_with_by_another_one(
    deployment: Deployment,
) -> None:
    path = write_recipe(deployment.folder / "long.toml", max_steps="400")
    history = History.below(deployment.settings.data_dir)
    first = Program(deployment, "run")
    ask(deployment, recipe=str(path))
    runs = deployment.folder / "data" / "trainer" / "runs"
    wait_until(
        lambda: any(runs.glob("*/checkpoint-*/doivec.json")),
        while_true=first.is_running,
        what=lambda: first.words,
    )
    first.end(signal.SIGKILL)
    assert history.entries() == []
    second = Program(deployment, "run")
    wait_until(
        lambda: any(entry.kind == "refine" for entry in history.entries()),
        while_true=second.is_running,
        what=lambda: second.words,
    )
    entry = history.entries()[-1]
    assert (entry.kind, entry.outcome) == ("refine", "promoted"), entry.words
    steps = [line for line in second.words.splitlines() if "training tiny: " in line]
    assert "training tiny: 1 of 400" not in steps[0], "it went on from a checkpoint"
    with deployment.redis_client() as client:
        wait_until(lambda: client.exists("doivec:note:refine") == 0)
        assert client.llen(QUEUE) == 0
    assert second.is_running()
    assert second.end() == 0


def test_a_trainer_told_to_stop_ends_and_the_next_one_goes_on(deployment: Deployment) -> None:
    path = write_recipe(deployment.folder / "long.toml", max_steps="2000")
    first = Program(deployment, "run")
    ask(deployment, recipe=str(path))
    wait_until(
        lambda: "training tiny: 1 of 2,000" in first.words,
        while_true=first.is_running,
        what=lambda: first.words,
    )
    ask(deployment)
    wait_until(lambda: "is dropped: another one has not ended" in first.words)
    ping = [str(SCRIPTS / "celery"), "-A", "trainer.tasks", "inspect", "ping", "-t", "30"]
    assert subprocess.run(ping, env=deployment.environ, check=True, capture_output=True)
    ask(deployment, recipes="title")
    entries = History.below(deployment.settings.data_dir).entries
    wait_until(lambda: len(entries()) == 1, what=lambda: first.words)
    assert (entries()[0].outcome, "recipes" in entries()[0].words) == ("failed", True)
    assert first.end() == 0, first.words
    assert "goes on later" in first.words
    assert len(entries()) == 1
    with deployment.redis_client() as client:
        asked = Request.model_validate_json(client.get("doivec:note:refine") or b"")  # type: ignore[arg-type] - typed for async too
    assert (asked.wishes, asked.starts) == ({"recipe": str(path)}, 0)


@contextmanager
def beating(server: RedisServer, folder: Path) -> Iterator[PersistentScheduler]:
    """A beat whose refine is due."""
    settings = settings_of(server, data_dir=folder)
    application = make_app(lambda: settings)
    application.conf.update(beat_options(settings))
    make = symbol_by_name(application.conf.beat_scheduler)
    beat = make(app=application, schedule_filename=str(folder / "beat"))
    try:
        yield beat
    finally:
        beat.close()
        application.close()


def tick(beat: PersistentScheduler) -> None:
    """Once where a slot is due, once more where none is."""
    beat.tick()
    beat.tick()


def make_due(beat: PersistentScheduler) -> None:
    beat.schedule["refine"].last_run_at = datetime.now(UTC) - timedelta(days=8)
    beat._heap = None


def queued(server: RedisServer) -> int:
    with plain_redis.Redis.from_url(server.url) as client:
        return int(client.llen(QUEUE))  # type: ignore[arg-type] - typed for async too


@pytest.fixture
def own_redis(redis_server: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_slot_is_sent_though_redis_went_away_after_the_last_one(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    with beating(own_redis, tmp_path) as beat:
        make_due(beat)
        tick(beat)
        with plain_redis.Redis.from_url(own_redis.url) as client:
            assert client.delete(QUEUE) == 1
        own_redis.kill()
        comes_back = Timer(0.3, own_redis.start)
        comes_back.start()
        make_due(beat)
        tick(beat)
        comes_back.join()
        assert queued(own_redis) == 1


def test_a_beat_that_ends_while_redis_is_away_leaves_its_slot_to_the_next(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    def end(*_: object) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with beating(own_redis, tmp_path) as beat:
            make_due(beat)
            assert beat.producer.channel
            own_redis.kill()
            Timer(1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(SystemExit):
                tick(beat)
    finally:
        signal.signal(signal.SIGUSR1, before)
    own_redis.start()
    with beating(own_redis, tmp_path) as beat:
        tick(beat)
        assert queued(own_redis) == 1
        tick(beat)
        assert queued(own_redis) == 1, "once"


def test_schedule_runs_in_the_foreground_with_its_state_in_the_data_directory(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "DOIVEC_REDIS__URL": redis_server.url,
        "DOIVEC_DATA_DIR": str(tmp_path / "data"),
    }
    command = [str(SCRIPTS / TRAINER), "schedule"]
    log = tmp_path / "beat.log"
    with log.open("wb") as output:
        beat = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    state = tmp_path / "data" / "trainer" / "beat"
    wait_until(
        lambda: (
            any(path.stat().st_size for path in state.glob("schedule*"))
            and "beat: Starting" in log.read_text()
        ),
        while_true=lambda: beat.poll() is None,
        what=log.read_text,
    )
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "one schedule at a time" in second.stderr
    with plain_redis.Redis.from_url(redis_server.url) as client:
        assert client.zcard(BEATS) == 1, "doctor sees it"
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(60) == 0, log.read_text()
        assert client.zcard(BEATS) == 0
    wrong = {**environment, "DOIVEC_SCHEDULE__REFINE": "0 3 * *"}
    third = subprocess.run(command, env=wrong, capture_output=True, text=True, check=False)
    assert third.returncode == 1
    assert third.stderr.startswith("doi-trainer: DOIVEC_SCHEDULE__REFINE: ")
    assert third.stderr.count("\n") == 1
