"""The ledger's promises, on a real Redis."""

import random
import threading

import pytest
import redis

from schemas.document import Document
from schemas.job import ColumnUse, DeadLetter, Job, JobState, Reading, Rejection, State
from tests.support.servers import RedisServer, wait_until
from worker.errors import (
    ConfigurationError,
    JobConflict,
    JobUnknown,
    LedgerRejected,
    LedgerUnavailable,
)
from worker.ledger.ledger import GONE, REFUSALS, SWEEP_LIMIT, Claim, Ledger
from worker.settings.ingest import IngestSettings
from worker.settings.servers import RedisSettings

DOCUMENTS = [Document(doi=f"10.1038/nphys{n}") for n in range(1170, 1180)]
OPTIONS = IngestSettings(lease_s=0.3, pause_records=20, pause_share=0.9)


@pytest.fixture
def options() -> IngestSettings:
    return OPTIONS


def accept(ledger: Ledger, *, job: str = "job", batches: int = 1, seal: bool = True) -> Job:
    ledger.open(job, identity=None, source="test", batch_records=10)
    for number in range(batches):
        ledger.accept(job, number, DOCUMENTS)
    if seal:
        assert ledger.seal(job, batches, repeated=0, invalid=0)
    return ledger.job(job)


def claimed(ledger: Ledger, number: int = 0, *, job: str = "job") -> Claim:
    claim = ledger.claim(job, number)
    assert claim is not None
    return claim


def letter(claim: Claim, document: Document = DOCUMENTS[0]) -> DeadLetter:
    return DeadLetter(
        job=claim.batch.job,
        sequence=claim.batch.sequence,
        stage="embed",
        reason="poison",
        document=document,
    )


def test_a_batch_is_accepted_once_and_claimed_with_all_its_records(ledger: Ledger) -> None:
    accept(ledger, seal=False)
    assert ledger.accept("job", 0, DOCUMENTS) == ("known", 1)
    assert ledger.job("job").accepted == 10
    assert claimed(ledger).batch.documents == tuple(DOCUMENTS)


def test_sequences_grow_whatever_the_clock_says(ledger: Ledger, redis_server: RedisServer) -> None:
    accept(ledger, batches=2, seal=False)
    first, second = claimed(ledger, 0).batch, claimed(ledger, 1).batch
    assert first.sequence < second.sequence
    future = second.sequence + 10**12
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("doivec:sequence", future)
    ledger.accept("job", 2, DOCUMENTS)
    assert claimed(ledger, 2).batch.sequence == future + 1


def test_one_worker_holds_a_batch_at_a_time(ledger: Ledger) -> None:
    accept(ledger)
    got: list[Claim | None] = []
    threads = [
        threading.Thread(target=lambda: got.append(ledger.claim("job", 0))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([claim for claim in got if claim]) == 1


def test_a_batch_settles_once_and_only_by_its_holder(ledger: Ledger) -> None:
    accept(ledger)
    stale = claimed(ledger)
    wait_until(lambda: ledger.lost(queue_is_empty=False) == [("job", 0)])
    holder = claimed(ledger)
    assert holder.claims == 2
    assert ledger.settle(stale, {State.STORED: 10}, []) == "lost"
    assert ledger.settle(holder, {State.STORED: 9, State.DEAD: 1}, [letter(holder)]) == "settled"
    assert ledger.settle(holder, {State.STORED: 9, State.DEAD: 1}, [letter(holder)]) == "settled"
    assert ledger.settle(stale, {State.STORED: 10}, []) == "lost"
    job = ledger.job("job")
    assert (job.state, job.stored, job.dead, job.settled) == (JobState.SETTLED, 9, 1, 10)
    assert ledger.claim("job", 0) is None
    assert ledger.outstanding() == 0


def test_a_renewed_lease_is_not_lost(ledger: Ledger) -> None:
    accept(ledger)
    other = accept(ledger, job="other")
    kept, dropped = claimed(ledger), claimed(ledger, job=other.id)
    lost: list[tuple[str, int]] = []

    def sweep() -> bool:
        assert ledger.renew(kept)
        lost.extend(ledger.lost(queue_is_empty=False))
        return bool(lost)

    wait_until(sweep)
    assert lost == [("other", 0)]
    assert not ledger.renew(dropped._replace(token="a stranger's"))


def test_a_released_batch_is_free_at_once_and_its_claim_is_not_counted(ledger: Ledger) -> None:
    accept(ledger)
    ledger.release(claimed(ledger))
    assert ledger.lost(queue_is_empty=False) == [("job", 0)]
    assert claimed(ledger).claims == 1


def test_a_batch_that_was_never_claimed_is_queued_again_only_when_the_queue_is_empty(
    ledger: Ledger,
) -> None:
    accept(ledger)
    wait_until(lambda: ledger.lost(queue_is_empty=True) == [("job", 0)])
    assert ledger.lost(queue_is_empty=True) == [], "it counts as queued from now on"
    assert ledger.lost(queue_is_empty=False) == []


def test_deaths_are_counted_by_record(ledger: Ledger) -> None:
    accept(ledger)
    for death in range(1, 3):
        claim = claimed(ledger)
        assert ledger.mark(claim, 4)
        wait_until(lambda: bool(ledger.lost(queue_is_empty=False)))
        assert claimed(ledger).deaths == {4: death}
        wait_until(lambda: bool(ledger.lost(queue_is_empty=False)))
        assert not ledger.mark(claim, 5), "the batch is no longer this worker's"


def test_a_job_is_sealed_when_all_batches_are_there(ledger: Ledger) -> None:
    ledger.open("job", identity=None, source="test", batch_records=10)
    ledger.accept("job", 0, DOCUMENTS)
    ledger.accept("job", 2, DOCUMENTS)
    assert not ledger.seal("job", 3, repeated=0, invalid=0)
    assert ledger.job("job").state is JobState.OPEN
    ledger.accept("job", 1, DOCUMENTS)
    # What Redis had lost has a later sequence than what came behind it.
    lost, behind = claimed(ledger, 1), claimed(ledger, 2)
    assert lost.batch.sequence > behind.batch.sequence
    assert (len(lost.batch.again), len(behind.batch.again)) == (len(DOCUMENTS), 0)
    columns = (ColumnUse("a.csv", {"doi": ("DOI",)}, ("Key",)),)
    reading = Reading(columns=columns, fields_dropped=2)
    assert ledger.seal("job", 3, repeated=0, invalid=1, without_doi=4, reading=reading)
    job = ledger.job("job")
    assert (job.state, job.read, job.accepted, job.invalid) == (JobState.SEALED, 35, 30, 1)
    assert (job.without_doi, job.reading) == (4, reading)
    assert ledger.accept("job", 3, DOCUMENTS).verdict == "closed", "a sealed job takes no more"
    assert ledger.accept("job", 2, DOCUMENTS).verdict == "known"


def test_a_job_of_nothing_settles_when_it_is_sealed(ledger: Ledger) -> None:
    assert accept(ledger, batches=0).state is JobState.SETTLED


def test_the_same_source_is_the_same_job_until_it_has_settled(ledger: Ledger) -> None:
    first = ledger.open("a", identity="same", source="test", batch_records=10)
    again = ledger.open("b", identity="same", source="test", batch_records=99)
    assert (first.id, again.id, again.batch_records) == ("a", "a", 10)
    ledger.accept("a", 0, DOCUMENTS)
    ledger.seal("a", 1, repeated=0, invalid=0)
    assert ledger.open("c", identity="same", source="test", batch_records=10).id == "a"
    ledger.settle(claimed(ledger, job="a"), {State.STORED: 10}, [])
    assert ledger.open("d", identity="same", source="test", batch_records=10).id == "d"


def test_cancelling_spares_what_is_claimed(ledger: Ledger) -> None:
    accept(ledger, batches=3)
    claim = claimed(ledger, 1)
    assert ledger.cancel("job") == 20
    assert ledger.job("job").state is JobState.SEALED
    assert ledger.accept("job", 7, DOCUMENTS).verdict == "cancelled"
    assert ledger.claim("job", 0) is None
    ledger.settle(claim, {State.STORED: 10}, [])
    job = ledger.job("job")
    assert (job.state, job.stored, job.cancelled) == (JobState.SETTLED, 10, 20)
    assert ledger.cancel("job") == 0
    with pytest.raises(JobUnknown):
        ledger.cancel("never")


def test_dead_letters_are_replayed_under_the_sequence_they_had(ledger: Ledger) -> None:
    accept(ledger)
    claim = claimed(ledger)
    ledger.settle(claim, {State.STORED: 9, State.DEAD: 1}, [letter(claim)])
    assert [d.document for d in ledger.dead("job")] == [DOCUMENTS[0]]
    assert ledger.replay("job") == [1]
    assert ledger.replay("job") == []
    assert list(ledger.dead()) == []
    job = ledger.job("job")
    assert (job.state, job.dead, job.accepted) == (JobState.SEALED, 0, 10)
    again = claimed(ledger, 1)
    assert (again.batch.documents, again.batch.sequence) == ((DOCUMENTS[0],), claim.batch.sequence)
    ledger.settle(again, {State.STORED: 1}, [])
    assert ledger.job("job").stored == 10
    assert ledger.job("job").state is JobState.SETTLED


def test_a_job_that_nearly_always_fails_pauses_until_it_is_resumed(ledger: Ledger) -> None:
    accept(ledger, batches=6)
    for number in range(2):
        ledger.settle(claimed(ledger, number), {State.DEAD: 10}, [])
    job = ledger.job("job")
    assert job.state is JobState.PAUSED
    assert job.note == "20 of the last 20 records ended as dead letters"
    assert ledger.claim("job", 2) is None
    assert ledger.resume("job")
    ledger.settle(claimed(ledger, 2), {State.DEAD: 10}, [])
    assert ledger.job("job").state is JobState.SEALED, "what was forgiven doesn't count again"
    ledger.settle(claimed(ledger, 3), {State.DEAD: 10}, [])
    assert ledger.job("job").state is JobState.PAUSED


def test_a_settling_that_does_not_know_of_a_deletion_is_sent_back(ledger: Ledger) -> None:
    accept(ledger)
    claim = claimed(ledger)
    sequence = ledger.bury(["0" * 36])
    assert sequence > claim.batch.sequence
    assert ledger.settle(claim, {State.STORED: 10}, []) == "deleted"
    assert ledger.buried(["0" * 36, "1" * 36]) == {"0" * 36: sequence}
    assert ledger.tombstones(0, 10) == {"0" * 36: sequence}
    knowing = claim._replace(epoch=ledger.epoch())
    assert ledger.settle(knowing, {State.STORED: 10}, []) == "settled"


def test_what_may_still_be_written_is_known(ledger: Ledger) -> None:
    dois = [d.doi for d in DOCUMENTS]
    accept(ledger, job="older")
    accept(ledger, job="newer")
    older, newer = claimed(ledger, job="older"), claimed(ledger, job="newer")
    assert ledger.contested(older.batch, dois) == set()
    assert ledger.contested(newer.batch, dois) == set(dois)
    ledger.settle(older, {State.STORED: 9, State.DEAD: 1}, [letter(older)])
    assert ledger.contested(newer.batch, dois) == {DOCUMENTS[0].doi}, "it may be replayed"
    ledger.replay("older")
    assert ledger.contested(newer.batch, dois) == set(dois)


def test_the_dead_letters_of_a_doi_are_those_of_all_jobs(ledger: Ledger) -> None:
    assert ledger.letters(DOCUMENTS[0].doi) == []
    for job in ("one", "two"):
        accept(ledger, job=job)
        claim = claimed(ledger, job=job)
        own = [letter(claim), letter(claim, DOCUMENTS[1])][: 1 + (job == "two")]
        ledger.settle(claim, {State.STORED: 8, State.DEAD: 2}, own)
    assert [found.job for found in ledger.letters(DOCUMENTS[0].doi)] == ["one", "two"]
    assert [found.document for found in ledger.letters(DOCUMENTS[1].doi)] == [DOCUMENTS[1]]


def test_an_open_job_without_an_unsettled_batch_contests_nothing(ledger: Ledger) -> None:
    accept(ledger, job="open", seal=False)
    ledger.settle(claimed(ledger, job="open"), {State.STORED: 10}, [])
    accept(ledger, job="newer", batches=3)
    for number in (2, 1, 0):
        assert not ledger.contested(claimed(ledger, number, job="newer").batch, [DOCUMENTS[0].doi])


def test_one_process_sweeps_at_a_time(ledger: Ledger) -> None:
    with ledger.sweeping() as first, ledger.sweeping() as second:
        assert (first, second) == (True, False)
    with ledger.sweeping() as third:
        assert third


def test_the_first_rejections_are_kept(ledger: Ledger) -> None:
    rejections = [Rejection("list.txt", line, "x" * 999, "no DOI") for line in range(1, 50)]
    ledger.note_rejections("job", rejections)
    kept = ledger.rejections("job")
    assert [r.line for r in kept] == list(range(1, 21))
    assert kept[0] == Rejection("list.txt", 1, "x" * 200, "no DOI")


def test_any_interleaving_leaves_the_same_counts(ledger: Ledger) -> None:
    accept(ledger, batches=8)
    moves = random.Random(11)
    held: list[Claim] = []
    while ledger.job("job").state is not JobState.SETTLED:
        move = moves.choice(["claim", "settle", "settle", "release", "lose"])
        if move == "claim" and (claim := ledger.claim("job", moves.randrange(8))):
            held.append(claim)
        elif move == "settle" and held:
            ledger.settle(moves.choice(held), {State.STORED: 10}, [])
        elif move == "release" and held:
            ledger.release(moves.choice(held))
        elif move == "lose":
            ledger.lost(queue_is_empty=True)
    assert ledger.job("job").stored == 80


def test_another_list_under_a_jobs_name_is_refused_and_the_same_is_the_same_job(
    ledger: Ledger,
) -> None:
    def opened(digest: str) -> Job:
        return ledger.open("job", identity=None, source="s", batch_records=10, digest=digest)

    opened("one")
    accepted = ledger.accept("job", 0, DOCUMENTS)
    assert accepted.verdict == "accepted"
    with pytest.raises(JobConflict, match="holds another list"):
        opened("two")
    assert opened("one").id == "job"
    assert ledger.accept("job", 0, DOCUMENTS).verdict == "known"
    assert ledger.seal("job", 1, repeated=0, invalid=0)
    with pytest.raises(JobConflict):
        opened("two")


def test_paused_batches_hold_up_nobody_else(ledger: Ledger) -> None:
    accept(ledger, job="paused", batches=6, seal=False)
    for number in range(2):
        ledger.settle(claimed(ledger, number, job="paused"), {State.DEAD: 10}, [])
    assert ledger.job("paused").state is JobState.PAUSED
    assert ledger.outstanding() == 0
    assert ledger.accept("paused", 6, DOCUMENTS) == ("accepted", 0)
    accept(ledger, job="other")
    assert ledger.outstanding() == 1
    wait_until(lambda: ledger.lost(queue_is_empty=True) == [("other", 0)])
    assert ledger.resume("paused")
    assert ledger.outstanding() == 6
    assert {j for j, _ in ledger.lost(queue_is_empty=True)} >= {"paused"}, "queued again at once"
    assert ledger.cancel("paused") == 50
    assert ledger.job("paused").state is JobState.SETTLED


def test_a_paused_job_that_is_cancelled_ends(ledger: Ledger) -> None:
    accept(ledger, batches=6)
    for number in range(2):
        ledger.settle(claimed(ledger, number), {State.DEAD: 10}, [])
    assert ledger.cancel("job") == 40
    job = ledger.job("job")
    assert (job.state, job.dead, job.cancelled) == (JobState.SETTLED, 20, 40)
    assert ledger.outstanding() == 0


def test_the_sweep_sees_lost_batches_beyond_a_thousand(ledger: Ledger) -> None:
    accept(ledger, batches=SWEEP_LIMIT + 5)
    found: set[tuple[str, int]] = set()

    def swept() -> bool:
        found.update(ledger.lost(queue_is_empty=True))
        return len(found) == SWEEP_LIMIT + 5

    wait_until(swept)


def test_a_job_whose_producer_is_gone_ends_with_what_it_accepted(
    redis_server: RedisServer,
) -> None:
    options = IngestSettings(lease_s=0.02)
    quick = Ledger.connect(RedisSettings(url=redis_server.url), options=options)
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    accept(quick, job="gone", seal=False)
    accept(quick, job="alive", seal=False)

    def noticed() -> bool:
        quick.produce("alive")
        return quick.abandoned() == ["gone"]

    wait_until(noticed)
    gone = quick.job("gone")
    assert (gone.state, gone.read, gone.accepted, gone.note) == (JobState.SEALED, 10, 10, GONE)
    assert quick.accept("gone", 1, DOCUMENTS).verdict == "closed"
    assert quick.job("alive").state is JobState.OPEN
    quick.close()


@pytest.fixture
def abandoned(ledger: Ledger, redis_server: RedisServer) -> Ledger:
    """A ledger with a job of two batches whose producer is away for too long after the first."""
    ledger.open("job", identity="source", source="test", batch_records=10)
    ledger.accept("job", 0, DOCUMENTS)
    with redis.Redis.from_url(redis_server.url) as client:
        client.zadd("doivec:producing", {"job": 0})
    assert ledger.abandoned() == ["job"]
    return ledger


def test_an_abandoned_source_is_another_job_from_then_on(abandoned: Ledger) -> None:
    again = abandoned.open("again", identity="source", source="test", batch_records=10)
    assert again.id == "again"


def test_a_replays_number_is_no_batch_of_the_source(abandoned: Ledger) -> None:
    claim = claimed(abandoned)
    abandoned.settle(claim, {State.STORED: 9, State.DEAD: 1}, [letter(claim)])
    assert abandoned.replay("job") == [1]
    assert abandoned.accept("job", 0, DOCUMENTS).verdict == "known"
    assert abandoned.accept("job", 1, DOCUMENTS).verdict == "closed"


def test_a_producer_that_was_only_late_to_seal_is_heard(abandoned: Ledger) -> None:
    assert abandoned.seal("job", 1, repeated=3, invalid=4)
    job = abandoned.job("job")
    assert (job.read, job.repeated, job.invalid, job.note) == (17, 3, 4, "")


def test_a_resumed_job_is_queued_again_whatever_else_waits(ledger: Ledger) -> None:
    accept(ledger, batches=6)
    for number in range(2):
        ledger.settle(claimed(ledger, number), {State.DEAD: 10}, [])
    assert ledger.lost(queue_is_empty=False) == []
    assert ledger.resume("job")
    assert len(ledger.lost(queue_is_empty=False)) == 4


def test_a_replay_of_a_job_that_paused_is_not_held_up(ledger: Ledger) -> None:
    accept(ledger, batches=3)
    held = [claimed(ledger, number) for number in range(3)]
    dead = [[letter(claim, d) for d in DOCUMENTS] if claim is held[0] else [] for claim in held]
    for claim, letters in zip(held, dead, strict=True):
        ledger.settle(claim, {State.DEAD: 10}, letters)
    assert ledger.job("job").state is JobState.SETTLED
    assert ledger.replay("job") == [3]
    assert claimed(ledger, 3).batch.documents == tuple(DOCUMENTS)


def test_a_replay_takes_a_number_that_nobody_has(ledger: Ledger) -> None:
    ledger.open("job", identity=None, source="test", batch_records=10)
    ledger.accept("job", 0, DOCUMENTS)
    ledger.accept("job", 2, DOCUMENTS)  # Redis lost number 1
    first, second = claimed(ledger, 0), claimed(ledger, 2)
    ledger.settle(first, {State.STORED: 9, State.DEAD: 1}, [letter(first)])
    assert ledger.cancel("job") == 0
    assert "Redis lost 1 of its batches" in ledger.job("job").note
    assert ledger.replay("job") == [3]
    ledger.settle(second, {State.STORED: 10}, [])
    ledger.settle(claimed(ledger, 3), {State.STORED: 1}, [])
    job = ledger.job("job")
    assert (job.state, job.stored, job.read, job.accepted) == (JobState.SETTLED, 20, 20, 20)


def test_a_list_that_comes_again_after_a_replay_is_the_same_job(ledger: Ledger) -> None:
    ledger.open("job", identity=None, source="s", batch_records=10, digest="d")
    ledger.accept("job", 0, DOCUMENTS)
    assert ledger.seal("job", 1, repeated=0, invalid=0)
    claim = claimed(ledger)
    ledger.settle(claim, {State.STORED: 9, State.DEAD: 1}, [letter(claim)])
    assert ledger.replay("job") == [1]
    ledger.open("job", identity=None, source="s", batch_records=10, digest="d")
    assert ledger.accept("job", 0, DOCUMENTS).verdict == "known"
    assert ledger.seal("job", 1, repeated=0, invalid=0)


def test_what_a_worker_may_have_stored_is_not_cancelled(ledger: Ledger) -> None:
    accept(ledger, batches=3)
    written, untouched = claimed(ledger, 0), claimed(ledger, 1)
    assert ledger.begin(written)
    ledger.release(written)
    ledger.release(untouched)
    assert ledger.cancel("job") == 20
    assert ledger.job("job").state is JobState.SEALED
    ledger.settle(claimed(ledger, 0), {State.STORED: 10}, [])
    job = ledger.job("job")
    assert (job.state, job.stored, job.cancelled) == (JobState.SETTLED, 10, 20)


def test_what_was_read_of_a_cancelled_job_adds_up(ledger: Ledger) -> None:
    accept(ledger, batches=2, seal=False)
    assert ledger.cancel("job") == 20
    assert ledger.job("job").read == 20
    assert ledger.seal("job", 0, repeated=3, invalid=4)
    job = ledger.job("job")
    assert (job.read, job.accepted, job.repeated, job.invalid) == (27, 20, 3, 4)


def test_a_batch_given_back_for_a_reason_says_so_and_pauses_its_job_in_the_end(
    ledger: Ledger,
) -> None:
    accept(ledger, batches=2)
    for _ in range(REFUSALS - 1):
        ledger.release(claimed(ledger), reason="StoreRejected: strict mode")
    job = ledger.job("job")
    assert (job.state, job.note) == (JobState.SEALED, "StoreRejected: strict mode")
    ledger.settle(claimed(ledger, 1), {State.STORED: 10}, [])
    assert ledger.job("job").note == ""
    for _ in range(REFUSALS):
        ledger.release(claimed(ledger), reason="StoreRejected: strict mode")
    assert ledger.job("job").state is JobState.PAUSED
    assert ledger.resume("job")
    claim = claimed(ledger)
    assert claim.claims == 1, "none of them counted"
    ledger.settle(claim, {State.STORED: 10}, [])
    assert ledger.job("job").state is JobState.SETTLED


def test_a_job_is_no_backfill_for_its_name(ledger: Ledger) -> None:
    accept(ledger, job="backfill-my-list")
    assert (ledger.outstanding(), ledger.outstanding(backfill=True)) == (1, 0)
    assert ledger.next_copy() is None
    claim = claimed(ledger, job="backfill-my-list")
    ledger.settle(claim, {State.STORED: 9, State.DEAD: 1}, [letter(claim)])
    assert ledger.jobs_with_dead() == ["backfill-my-list"]


def test_a_list_that_cannot_be_taken_is_a_rejected_job(ledger: Ledger) -> None:
    ledger.reject("bad", source="a task's list", reason="wrong arguments")
    job = ledger.job("bad")
    assert (job.state, job.note, job.read) == (JobState.REJECTED, "wrong arguments", 0)
    assert [j.id for j in ledger.jobs()] == ["bad"]
    accept(ledger, job="half", seal=False)
    ledger.reject("half", source="a task's list", reason="internal error")
    assert (ledger.job("half").state, ledger.job("half").read) == (JobState.SEALED, 10)
    ledger.settle(claimed(ledger, job="half"), {State.STORED: 10}, [])
    assert ledger.job("half").note == "internal error"


def test_jobs_and_rejections_do_not_outlive_their_retention(redis_server: RedisServer) -> None:
    options = IngestSettings(retention_s=1)
    brief = Ledger.connect(RedisSettings(url=redis_server.url), options=options)
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        accept(brief, batches=0)
        brief.note_rejections("job", [Rejection("list.txt", 1, "x", "no DOI")])
        wait_until(lambda: not client.exists("doivec:job:job", "doivec:rejects:job"))
        brief.tidy()
        assert client.keys("doivec:*") == []
    brief.close()


def test_only_what_can_pass_is_said_to_be_unavailable(
    ledger: Ledger, redis_server: RedisServer
) -> None:
    with pytest.raises(LedgerRejected):
        ledger.claim("job", "no number")  # type: ignore[arg-type]
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("doivec:jobs", "not a sorted set")
        with pytest.raises(LedgerRejected):
            ledger.jobs()
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(LedgerUnavailable, match="maxmemory"):
                ledger.note("x", "y" * 100)
        finally:
            client.config_set("maxmemory", "0")


def test_a_redis_that_is_away_is_said_to_be_unavailable() -> None:
    nowhere = Ledger.connect(
        RedisSettings(url="redis://127.0.0.1:1/0", timeout_s=0.2), options=OPTIONS
    )
    with pytest.raises(LedgerUnavailable):
        nowhere.ping()
    nowhere.close()
    with pytest.raises(ConfigurationError, match="DOIVEC_REDIS__URL"):
        Ledger.connect(RedisSettings(), options=OPTIONS)
