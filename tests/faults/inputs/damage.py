"""What is kept in Redis, with a damage in it: batches, jobs, dead letters, the route, notes, ..."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import redis

from schemas.document import Document
from schemas.job import DeadLetter, Rejection, State, pack
from schemas.worker import InHand, WorkerState
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.messages import _quietly as quietly
from tests.faults.inputs.servers import Served, served
from tests.faults.inputs.truth import check_reason
from trainer.refinement.pending import Pending
from worker.errors import WorkerError
from worker.ledger.ledger import Ledger

JOB, DOCUMENTS = "job", [Document(doi="10.1000/a", title="On a"), Document(doi="10.1000/b")]
REQUEST = '{"id": "task 1", "asked_at": "2026-01-01T00:00:00Z", "wishes": {}, "starts": 0}'


def _filled(there: Served) -> None:
    """A ledger that has something of all that is kept."""
    ledger = there.ledger
    there.client.flushdb()
    ledger.found("dois")
    ledger.open(JOB, identity="same", source="a.csv", batch_records=2)
    for number in range(3):
        ledger.accept(JOB, number, DOCUMENTS, again=["10.1000/a"] if number else [])
    claim = ledger.claim(JOB, 0)
    assert claim is not None
    ledger.mark(claim, 1)
    letter = DeadLetter(
        job=JOB, sequence=claim.batch.sequence, stage="embed", reason="why", document=DOCUMENTS[1]
    )
    ledger.settle(claim, {State.STORED: 1, State.DEAD: 1}, [letter], untaken=["10.1000/a"])
    claim = ledger.claim(JOB, 1)
    assert claim is not None
    ledger.mark(claim, 0)
    there.client.zadd("doivec:leases", {f"{JOB}:1": 1})  # its worker died
    ledger.note_rejections(JOB, [Rejection("a.csv", 3, "x", "no DOI in it")])
    ledger.seal(JOB, 3, repeated=0, invalid=1)
    ledger.bury(["0b1f", "2c3d"])
    ledger.note("refine", REQUEST)
    in_hand = InHand(job=JOB, number=1, records=2, embedded=0, for_s=1.0)
    ledger.present(WorkerState(name="h:1", host="h", pid=1, phase="working", in_hand=(in_hand,)))
    there.client.set("doivec:route", "3 dois-0123456789abcdef")
    ledger.beat("h:2")


@contextmanager
def _open(folder: Path) -> Iterator[Case]:
    with served(folder) as there, quietly():
        _filled(there)
        keys = sorted(cast(list[bytes], there.client.keys()))
        dumps = {key: cast(bytes, there.client.dump(key)) for key in keys}

        def case(rng: Random) -> bool:
            pipe = there.client.pipeline(transaction=False)
            pipe.flushdb()
            for key, dump in dumps.items():
                pipe.restore(key, 0, dump)
            pipe.execute()
            for _ in range(rng.choice((1, 1, 1, 2))):
                _damage(rng, there.client, rng.choice(keys))
            return _all_read(rng, there.ledger)

        yield case


def _damage(rng: Random, client: redis.Redis, key: bytes) -> None:
    kind = cast(bytes, client.type(key))
    if rng.random() < 0.04:
        client.delete(key)
    elif rng.random() < 0.03:
        client.delete(key)
        client.set(key, "x") if kind != b"string" else client.rpush(key, "x")
    elif kind == b"string":
        client.set(key, _changed(rng, cast(bytes, client.get(key))))
    elif kind == b"hash":
        field = rng.choice(sorted(cast(list[bytes], client.hkeys(key))))
        if rng.random() < 0.2:
            client.hdel(key, field)
        else:
            client.hset(key, field, _changed(rng, cast(bytes, client.hget(key, field)), field))
    elif kind == b"list":
        client.lset(key, 0, _changed(rng, cast(bytes, client.lindex(key, 0))))
    elif kind == b"zset":
        client.zadd(
            key, {_changed(rng, b"job:1"): rng.choice((0, -1, 1.5, 1e300, float("inf"), 2**53))}
        )
    elif kind == b"set":
        client.sadd(key, _changed(rng, b"job"))


def _changed(rng: Random, old: bytes, field: bytes = b"") -> bytes:
    act = rng.random()
    if field == b"body" and act < 0.5:
        return _packed(rng)
    if act < 0.35 and old[:1] in b"{[" and old:
        try:
            return json.dumps(noise.mangled(rng, json.loads(old))).encode()
        except (ValueError, RecursionError):
            return noise.damaged(rng, old)
    if act < 0.7:
        return noise.damaged(rng, old, most=2)
    if act < 0.85:
        return str(rng.choice(noise.NUMBERS)).encode()
    return noise.text(rng).encode(errors="surrogatepass")


def _packed(rng: Random) -> bytes:
    """A batch that is whole, and holds something else."""
    import zlib  # noqa: PLC0415

    rows = json.loads(zlib.decompress(pack(DOCUMENTS)))
    text = json.dumps(noise.mangled(rng, rows)).encode()
    return zlib.compress(text if rng.random() < 0.7 else noise.damaged(rng, text))


def _all_read(rng: Random, ledger: Ledger) -> bool:
    """Read all that the ledger tells, in any order; False where some of it was refused."""
    readers = list(READERS)
    rng.shuffle(readers)
    refused = 0
    for read in readers:
        try:
            read(ledger)
        except WorkerError as error:
            check_reason(error)
            refused += 1
    return not refused


def _claims(ledger: Ledger) -> None:
    for number in range(3):
        claim = ledger.claim(JOB, number)
        if claim is not None:
            for document in claim.batch.documents:
                _check(document)
            assert claim.batch.sequence >= 0, "a sequence before 1970"
            assert isinstance(claim.route.number, int)
            ledger.contested(claim.batch, ["10.1000/a"])
            ledger.follow(claim)
            ledger.renew(claim)
            ledger.release(claim)


def _kept(ledger: Ledger) -> None:
    for job in ledger.every_job():
        for batch in ledger.kept(job):
            for document in batch.documents:
                _check(document)
            ledger.again(batch)
            ledger.dead_among(batch.sequence, ["10.1000/b"])


def _dead(ledger: Ledger) -> None:
    for letter in (*ledger.dead(), *ledger.letters("10.1000/b")):
        _check(letter.document)


def _check(document: Document) -> None:
    assert isinstance(document.doi, str)
    for name in ("title", "abstract", "venue"):
        assert isinstance(getattr(document, name), str | None)
    assert isinstance(document.year, int | None)
    assert document.content_hash


def _told(ledger: Ledger) -> None:
    for job in ledger.jobs():
        assert job.settled >= 0 or job.settled < 0
        job.model_dump_json()
    ledger.job(JOB).reading.model_dump_json()


def _workers(ledger: Ledger) -> None:
    for worker in ledger.workers():
        worker.model_dump_json()


READERS: tuple[Callable[[Ledger], Any], ...] = (
    *(_claims, _kept, _dead, _told, _workers),
    *(Ledger.identity, Ledger.route, Ledger.epoch, Ledger.untaken, Ledger.stragglers, Ledger.beats),
    *(Ledger.abandoned, Ledger.next_copy, Ledger.outstanding, Ledger.tidy, Ledger.jobs_with_dead),
    lambda ledger: ledger.rejections(JOB),
    lambda ledger: ledger.lost(queue_is_empty=True),
    lambda ledger: ledger.tombstones(0, 10),
    lambda ledger: ledger.buried(["0b1f", "4e5f"]),
    lambda ledger: ledger.backlog(["celery"]),
    lambda ledger: ledger.find("j"),
    lambda ledger: ledger.replay(JOB),
    lambda ledger: Pending(ledger).read(),
    lambda ledger: ledger.strangers(5),
    partial(Ledger.hold, name="refining", token="t", words="w", lease_s=1.0),
)
TARGETS = (Target("ledger", 36, _open),)
