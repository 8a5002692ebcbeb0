"""What Redis has, damaged: whoever reads it is told what is, and nothing else goes wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from schemas.document import Document
from schemas.job import DeadLetter, JobState, Rejection, State
from schemas.worker import WorkerState
from tests.support.servers import RedisServer
from worker.errors import LedgerDamaged, LedgerRejected, WorkerError
from worker.ingest.sweep import Sweeper
from worker.ledger.kept import End
from worker.ledger.ledger import REFUSALS, Ledger
from worker.store.protocol import VectorStore

DOCUMENTS = [Document(doi="10.1000/a"), Document(doi="10.1000/b", title="On b")]
Damage = Callable[[redis.Redis], Any]
Read = Callable[[Ledger], Any]


@pytest.fixture
def client(ledger: Ledger, redis_server: RedisServer) -> redis.Redis:
    ledger.found("dois")
    ledger.open("job", identity=None, source="s", batch_records=2)
    for number in range(2):
        ledger.accept("job", number, DOCUMENTS)
    claim = ledger.claim("job", 0)
    assert claim is not None
    letter = DeadLetter(
        job="job", sequence=claim.batch.sequence, stage="s", reason="r", document=DOCUMENTS[0]
    )
    ledger.settle(claim, {State.STORED: 1, State.DEAD: 1}, [letter])
    ledger.note_rejections("job", [Rejection("s", 1, "x", "no DOI")])
    ledger.present(WorkerState(name="h:1", host="h", pid=1, phase="working"))
    return redis.Redis.from_url(redis_server.url)


@pytest.mark.parametrize(
    ("damage", "read", "says"),
    [
        (
            lambda c: c.hset("doivec:batch:job:1", "body", b"x"),
            lambda g: g.claim("job", 1),
            "job:1",
        ),
        (lambda c: c.hdel("doivec:batch:job:1", "sequence"), lambda g: g.claim("job", 1), "job:1"),
        (lambda c: c.hset("doivec:batch:job:1", "body", b"x"), lambda g: [*g.kept("job")], "job:1"),
        (lambda c: c.hset("doivec:job:job", "accepted", "many"), lambda g: g.jobs(), "job job"),
        (lambda c: c.hset("doivec:job:job", "source", b"\xff"), lambda g: g.job("job"), "job job"),
        (lambda c: c.hset("doivec:job:job", "next_number", "?"), lambda g: [*g.kept("job")], "job"),
        (
            lambda c: c.hset("doivec:dead:job", "10.1000/a", "{}"),
            lambda g: [*g.dead()],
            "of job job",
        ),
        (
            lambda c: c.hset("doivec:dead:job", "10.1000/a", "{}"),
            lambda g: g.replay("job"),
            "job job",
        ),
        (lambda c: c.rpush("doivec:rejects:job", "1"), lambda g: g.rejections("job"), "job job"),
        (
            lambda c: c.hset("doivec:job:job", "next_number", 2**31),
            lambda g: [*g.kept("job")],
            "job job",
        ),
        (
            lambda c: c.hset("doivec:batch:job:1", "sequence", -1),
            lambda g: g.claim("job", 1),
            "batch job:1",
        ),
        (
            lambda c: c.hset("doivec:batch:job:1", "sequence", -1),
            lambda g: [*g.kept("job")],
            "batch job:1",
        ),
        (lambda c: c.set("doivec:route", "x y"), lambda g: g.route(), "doivec:route"),
        (lambda c: c.set("doivec:deployment", "[1]"), lambda g: g.identity(), "doivec:deployment"),
        (lambda c: c.set("doivec:note:a", b"\xff"), lambda g: g.noted("a"), "doivec:note:a"),
        (lambda c: c.set("doivec:worker:h:1", "{}"), lambda g: g.workers(), "h:1"),
        (lambda c: c.set("doivec:epoch", "new"), lambda g: g.epoch(), "doivec:epoch"),
    ],
)
def test_what_is_damaged_is_named(
    ledger: Ledger, client: redis.Redis, damage: Damage, read: Read, says: str
) -> None:
    with client:
        damage(client)
    with pytest.raises(LedgerDamaged, match=f"{says}.* is damaged: "):
        read(ledger)


def test_a_damaged_batch_is_given_back_until_its_job_pauses_and_says_why(
    ledger: Ledger, client: redis.Redis
) -> None:
    with client:
        client.hset("doivec:batch:job:1", "body", b"x")
    for _ in range(REFUSALS):
        assert ledger.job("job").state is JobState.OPEN
        with pytest.raises(LedgerDamaged):
            ledger.claim("job", 1)
    job = ledger.job("job")
    assert job.state is JobState.PAUSED
    assert "batch job:1 is damaged" in job.note


def test_what_is_damaged_stops_no_other_step_of_a_sweep(
    ledger: Ledger,
    client: redis.Redis,
    store: VectorStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    restored: list[bool] = []
    sweeper = Sweeper(
        ledger,
        store,
        alias="dois",
        queue="ingest",
        send=lambda *_: None,
        restore=lambda: restored.append(True),
        pause_s=60.0,
    )
    with client:
        client.delete("doivec:tombstones")
        client.set("doivec:tombstones", "no list of any kind")
        client.zadd("doivec:leases", {"no number": 0})
    with pytest.raises(WorkerError):
        sweeper.sweep()
    assert restored
    assert "no number" in caplog.text
    with client:
        assert client.zscore("doivec:leases", "no number") is None


def test_a_batch_that_redis_lost_is_no_damage(ledger: Ledger, client: redis.Redis) -> None:
    with client:
        ledger.accept("job", 3, DOCUMENTS)
    ends = [batch.end for batch in ledger.kept("job")]
    assert ends == [End.SETTLED, End.WAITING, End.GONE, End.WAITING]


def test_what_is_no_text_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerRejected):
        ledger.note("a", "\ud800")
