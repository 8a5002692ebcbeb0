"""Two collections at once: dual writes, backfill, deletions and stale workers, on both stores."""

import gc
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import redis

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import Job, JobState, State
from schemas.model import collection_name, render
from schemas.record import Record
from tests.support.servers import RedisServer, wait_until
from tests.support.tiny_model import make_tiny_model
from tests.support.workers import ingestor, sweeper, work_of
from trainer.errors import PromotionRefused
from trainer.promotion.feed import Feed
from worker.errors import EmbeddingError, ModelError, OutOfMemory
from worker.ingest.backfill import Backfiller
from worker.ingest.batch import Ingestor
from worker.ingest.sweep import Sweeper
from worker.ledger.leases import Leases
from worker.ledger.ledger import REFUSALS, Ledger
from worker.ledger.sole import Lease, sole
from worker.model.embedder import Embedder
from worker.model.loaded import Encoder, Models, Target, Vectors
from worker.patience import Patience
from worker.settings.ingest import IngestSettings
from worker.store.points import payload
from worker.store.protocol import VectorStore, Write

OPTIONS = IngestSettings(lease_s=0.3, batch_records=100)
TEMPLATES = {"a": ("{doi}",), "b": ("{title}",)}
BARE = Document(doi="10.1038/nphys1170")
RICH = [Document(doi=f"10.1103/physrevlett.{n}", title=f"On {n}") for n in range(100, 110)]


class Sleeper:
    """An encoder that is asleep for a while when its first vectors are made."""

    def __init__(self, encoder: Encoder, meanwhile: Callable[[], None]) -> None:
        self._encoder = encoder
        self._meanwhile: Callable[[], None] | None = meanwhile

    def encode(self, texts: Sequence[str], _done: object = None) -> Vectors:
        vectors = self._encoder.encode(texts)
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            meanwhile()
        return vectors


class Site:
    """A live collection A and another one B, and one worker's objects without Celery."""

    def __init__(self, ledger: Ledger, store: VectorStore, *, alias: str) -> None:
        self.ledger, self.store, self.alias = ledger, store, alias
        self.a, self.b = (collection_name(alias, letter * 16) for letter in "ab")
        self.encoders: dict[str, Encoder] = {}
        self.failing: dict[str, Exception] = {}
        store.create(self.a, dimension=32)
        store.publish([alias, f"{alias}@{'a' * 16}"], collection=self.a)
        store.create(self.b, dimension=48)
        self.models = Models(self.load, idle_s=0.0)
        self.leases = Leases(ledger, lease_s=OPTIONS.lease_s)

    def load(self, collection: str) -> Target:
        letter = collection[-1]
        if collection in self.failing:
            raise self.failing[collection]
        if letter not in self.encoders:
            raise ModelError(f"no model {letter}")
        return Target(collection, TEMPLATES[letter], self.encoders[letter])

    def worker(self) -> Ingestor:
        return ingestor(
            self.ledger, self.store, alias=self.alias, models=self.models, leases=self.leases
        )

    def accept(self, job: str, documents: Sequence[Document]) -> None:
        self.ledger.open(job, identity=None, source="test", batch_records=100)
        self.ledger.accept(job, 0, documents)
        assert self.ledger.seal(job, 1, repeated=0, invalid=0)

    def ingest(self, job: str, *documents: Document) -> Job:
        self.accept(job, documents)
        assert self.worker().run(job, 0)
        return self.ledger.job(job)

    def copy(self, dois: Sequence[str]) -> int:
        """Have records copied from A to B by a worker; returns how many failed."""
        backfiller = self.backfiller()
        backfiller.start()
        try:
            feed = Feed(self.ledger, patience=Patience(), check=lambda: None)
            return feed.copy(dois, source=self.a, target=self.b, settled=lambda _: None).dead
        finally:
            backfiller.stop()

    def begin_copy(self, documents: Sequence[Document]) -> None:
        """A batch of a backfill from A to B, for whoever takes it up."""
        self.ledger.open(
            "backfill-x", identity=None, source="x", batch_records=100, copies=(self.a, self.b)
        )
        self.ledger.accept("backfill-x", 0, [Document(doi=d.doi) for d in documents])

    def backfiller(self) -> Backfiller:
        return Backfiller(self.ledger, self.worker(), lost=lambda: None, pause_s=0.01)

    def holds(self, collection: str, document: Document) -> bool:
        """Whether a collection has this very record, with the vector of its model."""
        i = point_id(document.doi)
        found = self.store.read(collection, [i])
        if not found or found[i].content_hash != document.content_hash:
            return False
        letter = collection[-1]
        text = render(document, TEMPLATES[letter])
        assert text is not None
        expected = self.encoders[letter].encode([text])[0]
        return bool(np.dot(self.store.vectors(collection, [i])[i], expected) > 0.9999)

    def sweeper(self) -> Sweeper:
        return sweeper(self.ledger, self.store, alias=self.alias)

    def delete(self, *documents: Document) -> None:
        ids = [point_id(d.doi) for d in documents]
        sequence = self.ledger.bury(ids)
        for collection in self.store.collections(self.alias):
            self.store.delete(collection, ids, below=sequence)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "a": make_tiny_model(folder / "a"),
        "b": make_tiny_model(folder / "b", seed=1, dimension=48),
    }


@pytest.fixture
def options() -> IngestSettings:
    return OPTIONS


@pytest.fixture
def site(
    ledger: Ledger, store: VectorStore, models: dict[str, Path], request: pytest.FixtureRequest
) -> Site:
    made = Site(ledger, store, alias=f"s{abs(hash(request.node.name))}")
    made.encoders = {letter: Embedder.load(path, threads=1) for letter, path in models.items()}
    return made


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    with sole(ledger, "promotion", lease_s=60.0) as held:
        yield held


def test_without_a_candidate_only_the_live_collection_is_written(site: Site) -> None:
    assert site.ingest("job", *RICH).stored == len(RICH)
    assert all(site.holds(site.a, d) for d in RICH)
    assert site.store.count(site.b) == 0
    assert site.models.held == [site.a]


def test_with_a_candidate_both_are_written(site: Site, lease: Lease) -> None:
    lease.reroute(site.b)
    assert site.ingest("job", *RICH).stored == len(RICH)
    assert all(site.holds(c, d) for c in (site.a, site.b) for d in RICH)


def test_what_the_candidate_cannot_read_is_no_dead_letter(site: Site, lease: Lease) -> None:
    lease.reroute(site.b)
    job = site.ingest("job", BARE, *RICH)
    assert (job.stored, job.dead) == (len(RICH) + 1, 0)
    assert site.holds(site.a, BARE)
    assert site.store.count(site.b) == len(RICH)


@pytest.mark.parametrize(
    "failure", [ModelError("no model"), OutOfMemory("full"), EmbeddingError("canaries differ")]
)
def test_a_candidate_whose_model_fails_holds_up_nothing(
    site: Site, lease: Lease, failure: Exception
) -> None:
    lease.reroute(site.b)
    site.failing[site.b] = failure
    worker = site.worker()
    for number, document in enumerate(RICH[:3]):
        site.accept(f"job{number}", [document])
        assert worker.run(f"job{number}", 0)
        assert site.ledger.job(f"job{number}").stored == 1
    assert site.ledger.untaken() == sorted(d.doi for d in RICH[:3]), "its promotion is told"
    assert site.store.count(site.b) == 0


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_was_stored_before_two_deaths_is_untaken_where_the_candidate_came_later(
    site: Site, lease: Lease, is_gone: bool
) -> None:
    site.accept("job", [RICH[0]])
    for _ in range(4):  # twice before it is run alone, twice on the record
        claim = site.ledger.claim("job", 0)
        assert claim is not None
        site.worker()._work(claim, work_of(claim))
        if claim.claims > 2:
            site.ledger.mark(claim, 0)
        wait_until(lambda: bool(site.ledger.lost(queue_is_empty=False)))
    lease.reroute(site.b)
    if is_gone:
        site.store.drop(site.b)
    assert site.worker().run("job", 0)
    job = site.ledger.job("job")
    assert (job.stored, job.dead) == (1, 0)
    assert site.ledger.untaken() == [RICH[0].doi]


def test_a_candidate_that_is_gone_holds_up_nothing(site: Site, lease: Lease) -> None:
    lease.reroute(site.b)
    site.store.drop(site.b)
    assert site.ingest("job", *RICH).stored == len(RICH)
    assert site.ledger.untaken() == sorted(d.doi for d in RICH)


def test_a_batch_in_hand_when_the_route_changes_is_brought_there_too(
    site: Site, lease: Lease
) -> None:
    site.accept("job", RICH)
    claim = site.ledger.claim("job", 0)
    assert claim
    worker = site.worker()
    outcome = worker._work(claim, work_of(claim))
    assert site.store.count(site.b) == 0
    lease.reroute(site.b)
    assert site.ledger.stragglers() == 1, "a promotion waits for it"
    assert worker._settle(claim, outcome) == "rerouted"
    worker._see_through(claim, work_of(claim))
    assert site.ledger.stragglers() == 0
    job = site.ledger.job("job")
    assert (job.state, job.stored) == (JobState.SETTLED, len(RICH))
    assert all(site.holds(c, d) for c in (site.a, site.b) for d in RICH)


def test_a_batch_in_hand_over_a_whole_switch_is_in_the_new_collection(
    site: Site, lease: Lease
) -> None:
    site.accept("job", RICH)
    claim = site.ledger.claim("job", 0)
    assert claim
    worker = site.worker()
    worker._work(claim, work_of(claim))
    lease.reroute(site.b)
    site.store.switch(site.alias, expected=site.a, collection=site.b)
    lease.reroute(None)
    worker._see_through(claim, work_of(claim))
    assert site.ledger.job("job").stored == len(RICH)
    assert all(site.holds(site.b, d) for d in RICH)


def test_a_worker_that_slept_over_a_switch_does_no_harm(site: Site, lease: Lease) -> None:
    site.accept("job", RICH)
    revised = Document(doi=RICH[0].doi, title="revised since")
    settled: list[Job] = []

    def meanwhile() -> None:
        """All that happens between its embedding and its writing."""
        wait_until(lambda: bool(site.ledger.lost(queue_is_empty=False)))
        lease.reroute(site.b)
        assert site.ledger.stragglers() == 0, "nobody waits for the dead"
        site.worker().run("job", 0)
        site.store.switch(site.alias, expected=site.a, collection=site.b)
        lease.reroute(None)
        assert site.ingest("newer", revised).stored == 1
        site.delete(RICH[1])
        settled.append(site.ledger.job("job"))

    site.encoders["a"] = Sleeper(site.encoders["a"], meanwhile)
    site.worker().run("job", 0)
    assert [site.ledger.job("job")] == settled, "its settling counts for nothing"
    assert settled[0].stored == len(RICH)
    gone = point_id(RICH[1].doi)
    assert gone not in set(site.store.ids(site.b))
    assert gone not in set(site.store.ids(site.a)), "it clears up what it brought back itself"
    assert site.holds(site.b, revised)
    assert all(site.holds(site.b, d) for d in RICH[2:])


def test_a_batch_for_a_collection_that_was_pruned_goes_to_the_live_one(site: Site) -> None:
    site.accept("job", RICH)

    def meanwhile() -> None:
        site.store.switch(site.alias, expected=site.a, collection=site.b)
        site.store.drop(site.a)

    site.encoders["a"] = Sleeper(site.encoders["a"], meanwhile)
    assert not site.worker().run("job", 0), "it was given back"
    assert site.worker().run("job", 0)
    assert site.ledger.job("job").stored == len(RICH)
    assert all(site.holds(site.b, d) for d in RICH)


def test_a_copy_is_the_record_as_it_was(site: Site) -> None:
    site.ingest("job", *RICH)
    assert site.copy([d.doi for d in RICH]) == 0
    assert all(site.holds(site.b, d) for d in RICH)
    ids = [point_id(d.doi) for d in RICH]
    here, there = (site.store.payloads(c, ids) for c in (site.a, site.b))
    assert {p.pop("text_from") for p in here.values()} == {"doi"}
    assert {p.pop("text_from") for p in there.values()} == {"title"}
    assert here == there


def test_copies_replace_what_is_older_and_leave_what_is_newer(site: Site, lease: Lease) -> None:
    old = [Document(doi=RICH[0].doi, title="old"), RICH[1]]
    lease.reroute(site.b)
    site.ingest("old", *old)
    lease.reroute(None)
    site.ingest("changed", RICH[0])  # in A alone
    newer = Document(doi=RICH[1].doi, title="newer")
    site.store.switch(site.alias, expected=site.a, collection=site.b)
    site.ingest("newer", newer)  # in B alone
    site.store.switch(site.alias, expected=site.b, collection=site.a)
    assert site.copy([d.doi for d in old]) == 0
    assert site.holds(site.b, RICH[0])
    assert site.holds(site.b, newer)


def test_a_bare_record_in_the_target_is_replaced_by_a_richer_older_one(site: Site) -> None:
    site.ingest("rich", RICH[0])
    site.store.switch(site.alias, expected=site.a, collection=site.b)
    TEMPLATES["b"] = ("{title}", "{doi}")
    try:
        site.ingest("bare", Document(doi=RICH[0].doi))
        site.copy([RICH[0].doi])
        assert site.holds(site.b, RICH[0])
    finally:
        TEMPLATES["b"] = ("{title}",)


def test_what_cannot_be_read_fails_and_is_told(site: Site) -> None:
    site.ingest("job", BARE, *RICH)
    assert site.copy([BARE.doi, *(d.doi for d in RICH)]) == 1
    assert site.store.count(site.b) == len(RICH)
    assert site.ledger.jobs_with_dead() == [], "no job lost a record"


def test_a_backfill_brings_nothing_back(site: Site) -> None:
    site.ingest("job", *RICH)
    site.begin_copy(RICH)
    claim = site.ledger.claim("backfill-x", 0)
    assert claim
    worker = site.worker()
    outcome = worker._work(claim, work_of(claim))
    site.delete(RICH[0])
    # Between its reading and its writing the record was deleted: as if it wrote just now.
    site.store.upsert(site.b, _as_stored(site, RICH[0]), revisions=())
    assert worker._settle(claim, outcome) == "settled"
    assert point_id(RICH[0].doi) not in set(site.store.ids(site.b))
    site.copy([RICH[0].doi])
    assert point_id(RICH[0].doi) not in set(site.store.ids(site.b))


def test_backfills_hold_up_nobody(site: Site) -> None:
    site.begin_copy(RICH[:1])
    assert (site.ledger.outstanding(), site.ledger.outstanding(backfill=True)) == (0, 1)
    assert site.ledger.lost(queue_is_empty=True) == [], "it needs no message"
    site.accept("job", RICH)
    claim = site.ledger.claim("job", 0)
    assert claim
    assert not site.ledger.contested(claim.batch, [RICH[0].doi])
    assert site.ledger.next_copy() == ("backfill-x", 0)
    assert site.ledger.cancel("backfill-x") == 1
    assert site.ledger.next_copy() is None


def test_a_copy_whose_worker_died_is_taken_up_by_another(site: Site) -> None:
    site.ingest("job", *RICH)
    site.begin_copy(RICH)
    assert site.ledger.claim("backfill-x", 0)
    assert site.ledger.next_copy() is None
    wait_until(lambda: site.ledger.next_copy() is not None)
    assert site.backfiller().step()
    assert site.store.count(site.b) == len(RICH)


def test_a_worker_without_the_model_leaves_the_copies_to_others(site: Site) -> None:
    site.ingest("job", *RICH)
    site.begin_copy(RICH)
    encoder = site.encoders.pop("b")
    poor = site.backfiller()
    poor.start()
    wait_until(lambda: poor.failure is not None)
    poor.stop()
    site.encoders["b"] = encoder
    assert site.backfiller().step()
    assert site.store.count(site.b) == len(RICH)


def test_copies_to_a_collection_that_is_gone_end(site: Site) -> None:
    site.ingest("job", *RICH)
    site.begin_copy(RICH)
    site.store.drop(site.b)
    assert site.backfiller().step()
    assert not site.backfiller().step()
    assert site.ledger.job("backfill-x").superseded == len(RICH)


def test_the_memory_of_the_old_model_is_let_go(site: Site, lease: Lease) -> None:
    worker = site.worker()
    site.ingest("job", *RICH)
    old = weakref.ref(site.encoders["a"])
    lease.reroute(site.b)
    site.ingest("again", *RICH)
    worker.tend()
    assert site.models.held == [site.a, site.b]
    site.store.switch(site.alias, expected=site.a, collection=site.b)
    lease.reroute(None)
    del site.encoders["a"]
    worker.tend()
    assert site.models.held == [site.b]
    gc.collect()
    assert old() is None


def test_a_dead_letter_that_is_replayed_during_a_promotion_is_in_both(
    site: Site, lease: Lease
) -> None:
    TEMPLATES["a"] = ("{title} {abstract}",)
    try:
        assert site.ingest("job", RICH[0]).dead == 1
        lease.reroute(site.b)
        TEMPLATES["a"] = ("{doi}",)
        site.models.keep([])
        numbers = site.ledger.replay("job")
        assert site.worker().run("job", numbers[0])
    finally:
        TEMPLATES["a"] = ("{doi}",)
    assert site.ledger.job("job").stored == 1
    assert all(site.holds(c, RICH[0]) for c in (site.a, site.b))


def _as_stored(site: Site, document: Document) -> Write:
    i = point_id(document.doi)
    said = payload(Record.of(document, 1), job="x", text_from="title")
    vector = site.encoders["b"].encode([document.title or ""])
    return Write(ids=[i], vectors=vector, payloads=[said])


def test_a_copy_that_cannot_be_read_holds_up_no_other(
    site: Site, redis_server: RedisServer
) -> None:
    site.ingest("first", *RICH)
    one, other = RICH[:1], RICH[1:]
    site.begin_copy(one)
    site.ledger.accept("backfill-x", 1, [Document(doi=d.doi) for d in other])
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset("doivec:batch:backfill-x:0", "body", b"damaged")
    assert site.ledger.next_copy() == ("backfill-x", 0)
    worker = site.backfiller()
    assert not worker.step()
    assert worker.step()
    assert all(site.holds(site.b, d) for d in other)
    for _ in range(REFUSALS):
        assert not worker.step()
    assert site.ledger.next_copy() is None
    job = site.ledger.job("backfill-x")
    assert job.state is JobState.PAUSED
    assert "backfill-x:0" in job.note


def test_a_worker_that_refuses_a_copy_leaves_the_tries_to_others(
    site: Site, redis_server: RedisServer
) -> None:
    site.ingest("first", *RICH)
    site.begin_copy(RICH)
    with redis.Redis.from_url(redis_server.url) as client, ExitStack() as stack:
        whole = client.hget("doivec:batch:backfill-x:0", "body")
        client.hset("doivec:batch:backfill-x:0", "body", b"damaged")
        poor = site.backfiller()
        poor.start()
        stack.callback(poor.stop)
        wait_until(lambda: client.hget("doivec:job:backfill-x", "refusals") == b"1")
        time.sleep(0.5)  # it looks a hundred times a second
        assert client.hget("doivec:job:backfill-x", "refusals") == b"1"
        client.hset("doivec:batch:backfill-x:0", "body", whole)
        assert site.backfiller().step()
    assert site.store.count(site.b) == len(RICH)


def test_a_backfill_that_paused_goes_on_where_another_worker_copies_something(site: Site) -> None:
    site.ingest("first", *RICH)
    site.begin_copy(RICH[:1])
    site.ledger.accept("backfill-x", 1, [Document(doi=d.doi) for d in RICH[1:]])
    in_hand = site.ledger.claim("backfill-x", 1)
    assert in_hand is not None
    for _ in range(REFUSALS):
        refused = site.ledger.claim("backfill-x", 0)
        assert refused is not None
        site.ledger.release(refused, reason="out of sorts")
    assert site.ledger.job("backfill-x").state is JobState.PAUSED
    assert site.ledger.settle(in_hand, {State.STORED: len(RICH) - 1}, []) == "settled"
    job = site.ledger.job("backfill-x")
    assert (job.state, job.note) == (JobState.OPEN, "")
    assert site.ledger.next_copy() == ("backfill-x", 0)


def test_a_backfill_that_no_worker_can_do_ends_with_the_reason(
    site: Site, redis_server: RedisServer
) -> None:
    site.ingest("first", *RICH)
    worker = site.backfiller()

    def damage_and_try(job: Job) -> None:
        if job.batches:
            with redis.Redis.from_url(redis_server.url) as client:
                client.hset(f"doivec:batch:{job.id}:0", "body", b"damaged")
            worker.step()

    feed = Feed(site.ledger, patience=Patience(), check=lambda: None)
    dois = [d.doi for d in RICH]
    with pytest.raises(PromotionRefused, match=r":0 is damaged: .*then give the command again"):
        feed.copy(dois, source=site.a, target=site.b, settled=damage_and_try)
    assert site.ledger.outstanding(backfill=True) == 0
    assert site.copy(dois) == 0
    assert all(site.holds(site.b, d) for d in RICH)
