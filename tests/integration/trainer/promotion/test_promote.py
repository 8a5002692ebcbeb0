"""Promotion, rollback and prune on both stores: refusals, interruptions, and what comes late."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import redis
from qdrant_client import QdrantClient
from qdrant_client import models as wire

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Job
from schemas.model import render
from schemas.record import Record
from schemas.training import PairCounts, TrainingRecord
from tests.support.servers import QdrantServer, RedisServer, wait_until
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import open_stores
from trainer.errors import PromotionRefused, PruneRefused
from trainer.promotion.forecast import forecast
from trainer.promotion.passes import Deployment
from trainer.promotion.promote import Promoted, Promoter
from trainer.promotion.prune import prune, removable
from trainer.records import RECORD
from worker.bootstrap import connect
from worker.errors import Busy, ConfigurationError, ModelError
from worker.model.embedder import Embedder
from worker.model.registered import Registered
from worker.runtime import Runtime, make_runtime
from worker.settings.environment import Settings
from worker.store.opening import open_store
from worker.store.points import payload
from worker.store.protocol import Write

BARE = Document(doi="10.1038/nphys1170")
RICH = [Document(doi=f"10.1103/physrevlett.{n}", title=f"On {n}") for n in range(100, 130)]
NOW = 1_700_000_000_000_000
STEPS = ("check", "create", "backfill", "candidate", "last lap", "verify", "switch", "release")
pytestmark = pytest.mark.timeout(120)


def record(parent: str) -> TrainingRecord:
    """The provenance of a version that was trained from another one."""
    known = dict.fromkeys(("name", "dataset", "metadata", "held_out", "device"), "x")
    pairs = dict.fromkeys(PairCounts.model_fields, 0)
    more = {"recipe": {}, "shards": (), "code": (), "packages": {}, "log": (), "pairs": pairs}
    times = {"started_at": datetime.now(UTC), "train_s": 1.0, "steps": 1}
    return TrainingRecord.model_validate({**known, **more, **times, "parent": parent})


class Interrupted(Exception):
    """What stands for a crash: nothing of the promotion runs after it."""


class Watch:
    """Does something when a step begins."""

    def __init__(self, at: str = "", do: Callable[[], object] = lambda: None) -> None:
        self._at, self._do = at, do
        self.steps: list[str] = []
        self.words: list[str] = []

    def step(self, name: str, words: str) -> None:
        self.steps.append(name)
        self.words.append(words)
        if name == self._at:
            self._do()

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def warn(self, words: str) -> None:
        self.words.append(words)


class Home:
    """A deployment in this process: a worker's objects without Celery, and a promoter."""

    def __init__(self, runtime: Runtime, promoter: Promoter, *, models: dict[str, Path]) -> None:
        self.runtime, self.promoter = runtime, promoter
        self.store, self.ledger = runtime.store, runtime.ledger
        self._models = models
        first = promoter.live()
        assert first
        self.first = first
        self.second = self.register("second", "{title}")

    def register(self, name: str, *templates: str, parent: str | None = None) -> str:
        source = self._models["second" if name == "second" else "first"]
        notes = {f"{RECORD}-run.json": record(parent).model_dump_json()} if parent else {}
        registry = self.promoter.stores.registry
        return registry.register(source, name=name, templates=templates, notes=notes).version

    def ingest(self, *documents: Document) -> Job:
        job = self.runtime.producer.enqueue([{"doi": d.doi, **d.metadata} for d in documents])
        for number in range(self.ledger.job(job).batches):
            assert self.runtime.ingestor.run(job, number)
        return self.ledger.job(job)

    def delete(self, *documents: Document) -> None:
        ids = [point_id(d.doi) for d in documents]
        sequence = self.ledger.bury(ids)
        for collection in self.store.collections("dois"):
            self.store.delete(collection, ids, below=sequence)

    def put(self, collection: str, document: Document, sequence: int) -> None:
        """Store a record as somebody did long ago, under any vector."""
        width = len(next(iter(self.store.vectors(collection, [point_id(RICH[0].doi)]).values())))
        vectors = np.eye(1, width, dtype=np.float32)
        said = payload(Record.of(document, sequence), job="old", text_from="title")
        i = point_id(document.doi)
        there = self.store.read(collection, [i]).values()
        write = Write([i], vectors, [said])
        self.store.upsert(collection, write, revisions={s.revision for s in there})

    def promote(self, version: str, watch: Watch | None = None, **terms: bool) -> Promoted:
        return self.promoter.promote(version, watcher=watch or Watch(), **terms)

    def rollback(self, watch: Watch | None = None, **terms: bool) -> Promoted:
        return self.promoter.rollback(watcher=watch or Watch(), **terms)

    @property
    def live(self) -> str:
        live = self.store.live("dois")
        assert live
        return live

    def check(self, *documents: Document) -> None:
        """The live collection has these records and no others, with its model's vectors."""
        ids = {point_id(d.doi): d for d in documents}
        assert set(self.store.ids(self.live)) == set(ids)
        path, manifest = self.promoter.stores.registry.get(self.live.rpartition("-")[2])
        texts = [render(d, manifest.templates) for d in documents]
        expected = Embedder.load(path, threads=1).encode([t for t in texts if t is not None])
        stored = self.store.vectors(self.live, list(ids))
        assert np.einsum("nd,nd->n", expected, np.stack([stored[i] for i in ids])).min() > 0.9995
        there = self.store.read(self.live, list(ids))
        assert {i: s.content_hash for i, s in there.items()} == {
            i: d.content_hash for i, d in ids.items()
        }
        assert self.ledger.route().candidate is None
        assert self.promoter.begun() is None


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "first": make_tiny_model(folder / "first"),
        "second": make_tiny_model(folder / "second", seed=1, dimension=48),
    }


@pytest.fixture(params=["server", "edge"])
def home(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    qdrant_server: QdrantServer,
    redis_server: RedisServer,
    models: dict[str, Path],
) -> Iterator[Home]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    is_server = request.param == "server"
    settings = Settings(
        data_dir=tmp_path,
        redis={"url": redis_server.url},
        qdrant={
            "url": qdrant_server.url if is_server else None,
            "grpc_port": qdrant_server.grpc_port,
            "embedded": not is_server,
        },
        # The original's way: what reads titles is another version.
        model={"name": str(models["first"]), "templates": ("{doi}",)},
        ingest={"lease_s": 2.0, "sweep_s": 0.2, "batch_records": 16},
        embed={"threads": 1},
    )
    with ExitStack() as stack:
        client = stack.enter_context(connect(settings))
        store = open_store(settings.qdrant, data_dir=tmp_path)
        if is_server:
            _clear(qdrant_server)
        source = Registered(settings)
        runtime = make_runtime(
            settings,
            client.application(),
            ledger=client.ledger,
            store=store,
            patience=client.patience,
            source=source,
        )
        runtime.start()
        stack.callback(runtime.close)
        deployment = Deployment(
            client.ledger,
            store,
            load=source.load,
            patience=client.patience,
            alias="dois",
            indexes_by_itself=is_server,
        )
        promoter = Promoter(deployment, open_stores(settings), check=lambda: None)
        yield Home(runtime, promoter, models=models)
        if is_server:
            runtime.backfiller.stop()
            _clear(qdrant_server)


def _clear(server: QdrantServer) -> None:
    """Remove what a test left on the server that all of them share, the live collection too."""
    server.empty()


def test_records_that_the_model_cannot_read_refuse_a_promotion(home: Home) -> None:
    home.ingest(BARE, *RICH)
    with pytest.raises(PromotionRefused, match=rf"can't read 1 of 31 .*: {BARE.doi}; with --allow"):
        home.promote(home.second)
    home.check(BARE, *RICH)
    assert home.promoter.live() == home.first
    assert home.promoter.history.entries()[-1].outcome == "refused"
    done = home.promote(home.second, allow_missing=True)
    assert (done.missing, done.points) == (1, len(RICH))
    assert done.listed
    assert done.listed.read_text() == f"{BARE.doi}\n"
    home.check(*RICH)
    home.rollback()
    home.check(BARE, *RICH)


@pytest.mark.parametrize("at", ["backfill", "candidate", "last lap", "verify", "switch"])
def test_one_that_comes_during_the_promotion_refuses_it_too(home: Home, at: str) -> None:
    home.ingest(*RICH)
    with pytest.raises(PromotionRefused, match="can't read 1 of 31 records"):
        home.promote(home.second, Watch(at, lambda: home.ingest(BARE)))
    home.check(BARE, *RICH)
    assert home.promoter.live() == home.first


@pytest.mark.parametrize("at", ["verify", "switch"])
def test_one_that_comes_last_is_listed_where_that_is_allowed(home: Home, at: str) -> None:
    home.ingest(*RICH)
    done = home.promote(home.second, Watch(at, lambda: home.ingest(BARE)), allow_missing=True)
    assert done.missing == 1
    home.check(*RICH)


@pytest.mark.parametrize("at", STEPS[:-1])
def test_what_is_ingested_changed_and_deleted_at_any_step_is_right(home: Home, at: str) -> None:
    home.ingest(*RICH[:20])
    changed = Document(doi=RICH[0].doi, title="changed")

    def meanwhile() -> None:
        home.ingest(*RICH[20:], changed)
        home.delete(RICH[1], RICH[25])

    home.promote(home.second, Watch(at, meanwhile))
    left = [d for d in (changed, *RICH[2:]) if d != RICH[25]]
    home.check(*left)
    home.ingest(late := Document(doi=BARE.doi, title="after the switch"))
    back = home.rollback()
    assert back.version == home.first
    home.check(*left, late)


@pytest.mark.parametrize("at", STEPS)
def test_cut_off_at_any_step_the_same_command_goes_on(home: Home, at: str) -> None:
    home.ingest(*RICH)
    with pytest.raises(Interrupted):
        home.promote(home.second, Watch(at, _interrupt))
    home.ingest(changed := Document(doi=RICH[0].doi, title="changed"))
    assert home.promote(home.second).version == home.second
    home.check(changed, *RICH[1:])
    switched = [e for e in home.promoter.history.entries() if e.outcome == "switched"]
    assert [(e.version, e.previous) for e in switched] == [(home.second, home.first)]


def test_cut_off_and_given_up_for_another_version(home: Home) -> None:
    home.ingest(*RICH)
    with pytest.raises(Interrupted):
        home.promote(home.second, Watch("last lap", _interrupt))
    assert home.ledger.route().candidate
    third = home.register("third", "{title}", "{doi}")
    home.promote(third)
    home.check(*RICH)
    with pytest.raises(Interrupted):
        home.promote(home.second, Watch("last lap", _interrupt))
    done = home.promote(third)
    assert done.version == done.previous, "live already: that gives the other one up"
    home.check(*RICH)


def test_a_rollback_that_flips_first_says_what_is_missing(home: Home) -> None:
    home.ingest(*RICH[:20])
    home.promote(home.second)
    home.ingest(*RICH[20:])
    watch = Watch()
    home.rollback(watch, now=True)
    assert watch.steps[:2] == ["candidate", "switch"], "nothing is looked through before"
    assert "10 records are missing until they are copied" in watch.words
    home.check(*RICH)


def test_a_flip_that_was_cut_off_is_completed_by_whatever_comes_next(home: Home) -> None:
    home.ingest(*RICH[:20])
    home.promote(home.second)
    home.ingest(*RICH[20:])
    with pytest.raises(Interrupted):
        home.rollback(Watch("catch up", _interrupt), now=True)
    assert home.promoter.live() == home.first
    assert len(set(home.store.ids(home.live))) == 20
    third = home.register("third", "{title}", "{doi}")
    home.promote(third)
    home.check(*RICH)


def test_a_slow_rollback_that_was_cut_off_may_be_hurried(home: Home) -> None:
    home.ingest(*RICH)
    home.promote(home.second)
    with pytest.raises(Interrupted):
        home.rollback(Watch("backfill", _interrupt))
    watch = Watch()
    assert home.rollback(watch, now=True).version == home.first
    assert watch.steps[:2] == ["candidate", "switch"]
    home.check(*RICH)


def test_two_at_once(home: Home) -> None:
    home.ingest(*RICH)
    third = home.register("third", "{title}", "{doi}")
    errors: list[Exception] = []

    def other() -> None:
        try:
            home.promote(third)
        except Busy as error:
            errors.append(error)

    def start_other() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)

    home.promote(home.second, Watch("candidate", start_other))
    assert len(errors) == 1
    assert "one promotion at a time" in str(errors[0])
    assert home.promoter.live() == home.second
    home.check(*RICH)


def test_a_point_of_somebody_else_is_no_record(home: Home) -> None:
    home.ingest(*RICH)
    payload = {
        "doi": "10.1038/another",
        "title": "T",
        "content_hash": "x",
        "sequence": 5,
        "job": "",
    }
    vector = np.eye(1, 32, dtype=np.float32)
    foreign = Write(ids=[point_id("10.1038/its-id")], vectors=vector, payloads=[payload])
    home.store.upsert(home.live, foreign, revisions=())
    with pytest.raises(PromotionRefused, match=r"10\.1038/another"):
        home.promote(home.second)
    done = home.promote(home.second, allow_missing=True)
    assert done.missing == 1
    home.check(*RICH)


def test_what_a_dead_worker_left_of_a_backfill_harms_no_later_one(home: Home) -> None:
    home.ingest(*RICH)
    gone = ("dois-" + "a" * 16, "dois-" + "b" * 16)
    home.ledger.open("backfill-x", identity=None, source="x", batch_records=16, copies=gone)
    home.ledger.note("backfill", "backfill-x")
    home.ledger.accept("backfill-x", 0, [Document(doi=d.doi) for d in RICH])
    home.ledger.claim("backfill-x", 0)
    home.promote(home.second)
    home.check(*RICH)
    assert home.ledger.outstanding(backfill=True) == 0


def test_a_model_that_cannot_be_trusted_is_not_promoted(home: Home) -> None:
    home.ingest(*RICH)
    path = home.promoter.stores.registry.look(home.second)[0]
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ModelError, match="was changed"):
        home.promote(home.second)
    home.check(*RICH)
    with pytest.raises(ModelError, match="no model version"):
        home.promote("feedface")


def test_wrong_vectors_in_the_new_collection_stop_the_switch(home: Home) -> None:
    home.ingest(*RICH)

    def spoil() -> None:
        target = home.ledger.route().candidate
        assert target
        ids = [point_id(d.doi) for d in RICH]
        payloads = home.store.payloads(target, ids)
        same = [payloads[i] for i in ids]
        vectors = np.tile(np.eye(1, 48, dtype=np.float32), (len(ids), 1))
        write = Write(ids, vectors, same)
        home.store.upsert(target, write, revisions={p["revision"] for p in same})

    with pytest.raises(ModelError, match="is not its model's: cosine"):
        home.promote(home.second, Watch("verify", spoil))
    assert home.promoter.live() == home.first
    assert home.ledger.route().candidate is None


def test_a_forecast_changes_nothing(home: Home) -> None:
    home.ingest(BARE, *RICH)
    found = forecast(home.promoter, home.second)
    assert (found.points, found.records, found.unreadable) == (31, 30, (BARE.doi,))
    assert found.rate > 0
    assert found.seconds == pytest.approx(30 / found.rate)
    assert 31 * 48 * 4 < found.memory_bytes <= found.disk_bytes
    assert home.store.collections("dois") == [home.live]
    assert home.promoter.history.entries() == []


def test_prune_leaves_what_is_needed(home: Home) -> None:
    home.ingest(*RICH)
    third = home.register("third", "{title}", "{doi}")
    fourth = home.register("fourth", "doi {doi}")
    home.promote(home.second)
    home.promote(third)
    with pytest.raises(Interrupted):
        home.promote(fourth, Watch("backfill", _interrupt))
    found = removable(home.promoter, keep=0)
    assert [one.version for one in found] == [home.first], "live, before, and begun stay"
    assert (found[0].points, found[0].vector_bytes) == (30, 30 * 32 * 4)
    assert found[0].path_bytes > 0
    assert removable(home.promoter, keep=4) == []
    prune(home.promoter, keep=0)
    assert home.first not in home.promoter.stores.registry.versions()
    assert home.promoter.history.entries()[-1].outcome == "pruned"
    assert len(home.store.collections("dois")) == 3
    assert removable(home.promoter, keep=0) == []
    home.promote(fourth)
    home.check(*RICH)


def test_the_workers_let_go_of_the_old_model(home: Home) -> None:
    home.ingest(*RICH)
    home.promote(home.second)
    home.ingest(Document(doi="10.1103/physrevlett.999", title="T"))
    wait_until(lambda: home.runtime.models.held == [home.live])


def _interrupt() -> None:
    raise Interrupted


def test_what_only_an_older_collection_has_comes_back_with_a_model_that_reads_it(
    home: Home,
) -> None:
    wide, wider = _three_lives(home)
    home.ingest(BARE, gone := Document(doi="10.1000/gone"))
    assert home.rollback(now=True).missing == 2
    home.check(*RICH)
    home.delete(gone)
    home.ingest(changed := Document(doi=RICH[0].doi, title="changed"))
    assert forecast(home.promoter, wider).records == len(RICH) + 1
    watch = Watch()
    done = home.promote(wider, watch)
    assert done.missing == 0
    assert "gather" in watch.steps
    home.check(BARE, changed, *RICH[1:])
    prune(home.promoter, keep=0)
    assert wide not in home.promoter.stores.registry.versions()
    home.check(BARE, changed, *RICH[1:])


def test_of_several_older_states_the_richest_and_newest_comes_back(home: Home) -> None:
    _, wider = _three_lives(home)
    home.rollback()
    oldest, newer = (n for n in home.store.collections("dois") if n != home.live)
    titled = [Document(doi=f"10.1000/{n}", title=f"T{n}") for n in range(3)]
    plain = [Document(doi=d.doi) for d in titled]
    home.put(oldest, titled[0], NOW)  # richer, though older
    home.put(newer, plain[0], NOW + 1)
    home.put(oldest, titled[1], NOW)
    home.put(newer, again := Document(doi=titled[1].doi, title="newer"), NOW + 1)
    home.put(oldest, plain[2], NOW + 1)
    home.put(newer, titled[2], NOW)
    home.put(newer, older := Document(doi=RICH[0].doi, title="of old"), NOW)  # live has a newer one
    assert older.title != RICH[0].title
    home.promote(wider)
    home.check(titled[0], again, titled[2], *RICH)


def test_cut_off_while_it_gathers_the_same_command_goes_on(home: Home) -> None:
    _, wider = _three_lives(home)
    home.ingest(BARE)
    home.rollback(now=True)
    with pytest.raises(Interrupted):
        home.promote(wider, Watch("gather", _interrupt))
    home.promote(wider)
    home.check(BARE, *RICH)


def test_what_no_model_since_could_read_is_never_pruned_unless_its_number_is_named(
    home: Home,
) -> None:
    home.ingest(BARE, other := Document(doi="10.1000/other"), *RICH)
    home.promote(home.second, allow_missing=True)
    third = home.register("third", "on {title}")
    assert home.promote(third).missing == 2, "no promotion forgets them"
    fourth = home.register("fourth", "of {title}")
    assert home.promote(fourth).missing == 2
    found = removable(home.promoter, keep=0)
    assert [(one.version, one.last_copies) for one in found] == [(home.first, 2), (home.second, 0)]
    prune(home.promoter, keep=0)
    there = home.promoter.stores.registry.versions()
    assert there == sorted([home.first, third, fourth]), "the one that has them stays, whole"
    with pytest.raises(PruneRefused, match="2 records would go, not 1; nothing is removed"):
        prune(home.promoter, keep=0, losing=1)
    assert home.first in home.promoter.stores.registry.versions()
    home.delete(other)
    home.promote(wide := home.register("wide", "{title}", "{doi}"))
    home.check(BARE, *RICH)
    assert [one.last_copies for one in removable(home.promoter, keep=0)] == [0, 0]
    assert home.promoter.live() == wide


def test_the_last_copies_go_when_their_number_is_named(home: Home) -> None:
    home.ingest(BARE, *RICH)
    home.promote(home.second, allow_missing=True)
    home.promote(home.register("third", "on {title}"))
    prune(home.promoter, keep=0, losing=1)
    assert home.first not in home.promoter.stores.registry.versions()
    assert home.promoter.history.entries()[-1].details["lost"] == 1
    home.check(*RICH)


def test_a_rollback_leaves_nothing_behind_without_asking(home: Home) -> None:
    _three_lives(home)
    home.ingest(BARE)
    for version in (None, home.second):
        with pytest.raises(PromotionRefused, match=r"can't read 1 of 31 .*--now too"):
            home.promoter.rollback(version, watcher=Watch())
    home.check(BARE, *RICH)
    assert home.rollback(allow_missing=True).missing == 1
    home.check(*RICH)


def test_a_refused_rollback_may_be_hurried(home: Home) -> None:
    _three_lives(home)
    home.ingest(BARE)
    with pytest.raises(PromotionRefused):
        home.rollback()
    done = home.rollback(now=True)
    assert (done.version, done.missing) == (home.second, 1)
    home.check(*RICH)


def test_a_promotion_says_how_many_records_a_day_will_be_dead_letters(home: Home) -> None:
    home.ingest(*RICH)
    long_ago = int((time.time() - 30 * 24 * 3600) * 1e6)
    home.put(home.live, Document(doi="10.1000/old"), long_ago)
    home.ingest(*(Document(doi=f"10.1000/{n}") for n in range(14)))
    words = "14 of them came in the last 7 days, 2.0 a day: once this model is live, the like"
    assert forecast(home.promoter, home.second).recent == 14
    with pytest.raises(PromotionRefused, match=words):
        home.promote(home.second)
    watch = Watch()
    home.promote(home.second, watch, allow_missing=True)
    assert words in watch.words[1]
    assert watch.steps[0] == "check"


def test_an_alias_on_a_collection_that_doivec_did_not_make_is_no_version(
    home: Home, qdrant_server: QdrantServer, tmp_path: Path
) -> None:
    home.ingest(*RICH)
    theirs = f"dois-backup-{home.first[:4]}"
    home.store.create(theirs, dimension=32)
    _point(qdrant_server, tmp_path, theirs)
    words = f"points at '{theirs}', which is not a collection that doivec made"
    for ask in (
        home.promoter.live,
        lambda: home.promote(home.second),
        lambda: removable(home.promoter, keep=0),
    ):
        with pytest.raises(ConfigurationError, match=words):
            ask()


def test_of_a_parent_its_record_stays_and_not_its_collection(home: Home) -> None:
    home.ingest(*RICH)
    child = home.register("child", "{title}", parent=home.first)
    grandchild = home.register("grandchild", "on {title}", parent=child)
    for version in (child, grandchild, home.second):
        home.promote(version)
    prune(home.promoter, keep=0)
    assert len(home.store.collections("dois")) == 2
    there = home.promoter.stores.registry.versions()
    assert there == sorted([home.first, child, grandchild, home.second])
    assert removable(home.promoter, keep=0) == []


def test_a_model_that_another_alias_uses_stays(home: Home) -> None:
    home.ingest(*RICH)
    home.store.create(f"dois-of-others-{home.first[:16]}", dimension=32)
    home.promote(home.second)
    home.promote(home.register("third", "on {title}"))
    (found,) = removable(home.promoter, keep=0)
    assert (found.version, found.path) == (home.first, None)
    prune(home.promoter, keep=0)
    assert home.first in home.promoter.stores.registry.versions()
    assert len(home.store.collections("dois")) == 2


def test_the_newest_are_those_that_were_made_last(home: Home) -> None:
    third = home.register("third", "on {title}")
    registry = home.promoter.stores.registry
    for age, version in enumerate([third, home.second, home.first]):
        past = time.time() - 100 * age
        for file in registry.look(version)[0].glob("*.*"):
            os.utime(file, (past, past))
    (registry.look(home.second)[0] / "card.md").write_text("a card, written later")
    assert [one.version for one in removable(home.promoter, keep=1)] == [home.second]


def test_a_prune_that_was_cut_off_is_completed_by_the_next(home: Home) -> None:
    home.ingest(*RICH)
    third, fourth = home.register("third", "on {title}"), home.register("fourth", "of {title}")
    for version in (home.second, third, fourth):
        home.promote(version)
    registry = home.promoter.stores.registry
    home.store.drop(f"dois-{home.first[:16]}")  # killed after the collection of one,
    folder = registry.look(home.second)[0]
    gone = folder.rename(folder.with_name(f".gone-{home.second}"))  # and within the removal of one
    found = removable(home.promoter, keep=0)
    assert [(one.version, one.collection) for one in found] == [
        (home.second[:16], f"dois-{home.second[:16]}"),
        (home.first, None),
    ]
    prune(home.promoter, keep=0)
    assert not gone.exists()
    assert registry.versions() == sorted([third, fourth])
    assert len(home.store.collections("dois")) == 2


def _three_lives(home: Home) -> tuple[str, str]:
    """Live is a model that reads everything; before it, one that reads titles alone.

    Returns that version, and another one that reads everything.
    """
    home.ingest(*RICH)
    home.promote(home.second)
    wide = home.register("wide", "{title}", "{doi}")
    home.promote(wide)
    return wide, home.register("wider", "{title}", "doi {doi}")


def _point(server: QdrantServer, folder: Path, collection: str) -> None:
    """Move the alias by hand, past doivec, wherever it is."""
    for aliases in folder.rglob("aliases.json"):
        aliases.write_text(json.dumps({"dois": collection}))
        return
    client = QdrantClient(url=server.url, trust_env=False, check_compatibility=False)
    alias = wire.CreateAlias(collection_name=collection, alias_name="dois")
    client.update_collection_aliases([wire.CreateAliasOperation(create_alias=alias)])
    client.close()
