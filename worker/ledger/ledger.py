"""The ledger: jobs, batches, claims and settlement in Redis.

The ledger remembers, Celery only carries.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple, cast
from uuid import uuid4

from schemas.job import Batch, DeadLetter, Job, JobState, Rejection, State, pack, unpack
from worker.errors import JobUnknown, SourceError
from worker.ledger.state import Route, SharedState, translated_errors

SWEEP_LIMIT = 1000
SAMPLE_REJECTIONS = 20
NOT_SEALED = -2
BACKFILL = "backfill-"


class Claim(NamedTuple):
    """A batch under lease.

    `deaths` counts, by index, how often a worker died on that record; `contested` says that an
    older record of another job may still be written; `epoch` is the newest tombstone, `route` the
    one that the batch is written by. A batch of a backfill has `copies` instead: the collection
    that its records are read from, and the one that they are copied to.
    """

    batch: Batch
    token: str
    claims: int
    deaths: Mapping[int, int]
    contested: bool
    epoch: str
    route: Route
    copies: tuple[str, str] | None

    @property
    def member(self) -> str:
        """The batch's name in the ledger."""
        return f"{self.batch.job}:{self.batch.number}"


class Acceptance(NamedTuple):
    """What became of a batch offered to the ledger, and how many now wait in it."""

    verdict: str
    outstanding: int


class Ledger(SharedState):
    """Jobs and batches in Redis, and what else processes share there (see `SharedState`)."""

    # Producing

    def open(
        self,
        job: str,
        *,
        identity: str | None,
        source: str,
        batch_records: int,
        copies: tuple[str, str] = ("", ""),
    ) -> Job:
        """Open a job, or take up the open one of the same identity; a paused one goes on.

        One whose id begins with `BACKFILL` copies records from a collection to another one.
        """
        found = self._run("open", job, identity or "", source, batch_records, *copies)
        self.resume(found[0].decode())
        return self.job(found[0].decode())

    def accept(self, job: str, number: int, documents: Sequence[Any]) -> Acceptance:
        """Take a batch of documents into the ledger; one that is there is left as it is."""
        verdict, outstanding = self._run("accept", job, number, len(documents), pack(documents))
        return Acceptance(verdict.decode(), outstanding)

    def outstanding(self, *, backfill: bool = False) -> int:
        """How many batches have not settled, of those that bring records or of backfills."""
        with translated_errors():
            return self._redis.zcard("doivec:backfill" if backfill else "doivec:outstanding")

    def seal(self, job: str, batches: int, *, read: int, repeated: int, invalid: int) -> bool:
        """Say that a job is complete; False where some of its batches are not there."""
        there = self._run("seal", job, batches, read, repeated, invalid, self._retention_s)
        if there > batches:
            raise SourceError(f"job {job} has {there} batches, but its source now gives {batches}")
        return cast(int, there) == batches

    def note_rejections(self, job: str, rejections: Sequence[Rejection]) -> None:
        """Keep the first few rejections of a job, for `status`."""
        rows = [json.dumps(r._replace(raw=r.raw[:200])) for r in rejections[:SAMPLE_REJECTIONS]]
        with translated_errors(), self._redis.pipeline() as pipe:
            pipe.delete(f"doivec:rejects:{job}")
            if rows:
                pipe.rpush(f"doivec:rejects:{job}", *rows)
            pipe.execute()

    def rejections(self, job: str) -> list[Rejection]:
        """The first few rejections of a job."""
        with translated_errors():
            rows = cast(list[bytes], self._redis.lrange(f"doivec:rejects:{job}", 0, -1))
        return [Rejection(*json.loads(row)) for row in rows]

    # Working

    def claim(self, job: str, number: int) -> Claim | None:
        """Lease a batch; None where it has settled, is held by another, or its job is paused."""
        token = uuid4().hex
        answer = self._run("claim", job, number, token, self._lease_ms)
        if answer[0] != b"claimed":
            return None
        _, body, sequence, claims, deaths, contested, epoch, route, *copies = answer
        batch = Batch.model_construct(
            job=job,
            number=number,
            sequence=int(sequence),
            accepted_at=_time(sequence),
            documents=unpack(body),
        )
        counts = {int(index): count for index, count in json.loads(deaths).items()}
        return Claim(
            *(batch, token, claims, counts, bool(contested), epoch.decode(), Route.read(route)),
            copies=(copies[0].decode(), copies[1].decode()) if copies[1] else None,
        )

    def next_copy(self) -> tuple[str, int] | None:
        """The oldest batch of a backfill that nobody holds, as (job, number)."""
        member = self._run("next_copy", SWEEP_LIMIT)
        return _address(member) if member else None

    def follow(self, claim: Claim) -> Claim | None:
        """The claim, by the route as it is now; None where the batch is no longer its own."""
        route = self._run("follow", claim.member, claim.token)
        return claim._replace(route=Route.read(route)) if route else None

    def untaken(self) -> list[str]:
        """The DOIs of records that the last candidate could not take when they came."""
        with translated_errors():
            members = cast(set[bytes], self._redis.smembers("doivec:untaken"))
        return sorted(member.decode() for member in members)

    def stragglers(self) -> int:
        """How many batches in hand are written by an older route than the present one."""
        return cast(int, self._run("stragglers"))

    def renew(self, claim: Claim) -> bool:
        """Prolong a lease; False where the batch is no longer this worker's."""
        return bool(self._run("renew", claim.member, claim.token, self._lease_ms))

    def release(self, claim: Claim) -> None:
        """Give a batch back without counting the claim."""
        self._run("release", claim.member, claim.token)

    def mark(self, claim: Claim, index: int) -> bool:
        """Note that the record at `index` is tried next; False where the batch was lost."""
        return bool(self._run("mark", claim.member, claim.token, index))

    def settle(
        self,
        claim: Claim,
        counts: Mapping[State, int],
        dead: Sequence[DeadLetter],
        *,
        untaken: Sequence[str] = (),
    ) -> str:
        """Settle a batch, once: 'settled', 'lost', 'deleted' (tombstones are newer), 'rerouted'.

        `untaken` are the DOIs of records that the candidate could not take.
        """
        letters = [part for d in dead for part in (d.document.doi, d.model_dump_json())]
        verdict = self._run(
            "settle",
            *(claim.batch.job, claim.batch.number, claim.token, claim.epoch, claim.route.number),
            *(self._retention_s, self._options.pause_records, self._options.pause_share),
            *(counts.get(state, 0) for state in State),
            *(len(untaken), *untaken),
            *letters,
        )
        return cast(bytes, verdict).decode()

    def lost(self, *, queue_is_empty: bool) -> list[tuple[str, int]]:
        """Batches to queue again, as (job, number); they count as queued from now on."""
        members = self._run("lost", self._lease_ms, int(queue_is_empty), SWEEP_LIMIT)
        return [_address(member) for member in members]

    # Asking and steering

    def job(self, job: str) -> Job:
        """A job's counts; raises `JobUnknown`."""
        with translated_errors():
            fields = cast(dict[bytes, bytes], self._redis.hgetall(f"doivec:job:{job}"))
        if b"created_at" not in fields:
            raise JobUnknown(f"no job {job!r}: it never was, or its retention time is over")
        return _job(job, {name.decode(): value.decode() for name, value in fields.items()})

    def jobs(self, limit: int = 20) -> list[Job]:
        """The latest jobs, newest first."""
        with translated_errors():
            names = cast(list[bytes], self._redis.zrange("doivec:jobs", 0, limit - 1, desc=True))
        return [job for name in names if (job := self._known(name.decode()))]

    def cancel(self, job: str) -> int:
        """Cancel the batches that nobody has claimed; returns how many records that were."""
        count = cast(int, self._run("cancel", job, self._retention_s))
        if count < 0:
            raise JobUnknown(f"no job {job!r}")
        return count

    def resume(self, job: str) -> bool:
        """Let a paused job go on; False where it wasn't paused."""
        return bool(self._run("resume", job))

    def dead(self, job: str | None = None) -> Iterator[DeadLetter]:
        """The dead letters of a job, or of all jobs, a few at a time."""
        with translated_errors():
            for name in [job] if job else self.jobs_with_dead():
                for _, letter in self._redis.hscan_iter(f"doivec:dead:{name}", count=500):
                    yield DeadLetter.model_validate_json(letter)

    def jobs_with_dead(self) -> list[str]:
        """The jobs that have dead letters."""
        with translated_errors():
            members = cast(set[bytes], self._redis.smembers("doivec:dead"))
        return sorted(member.decode() for member in members)

    def replay(self, job: str) -> list[int]:
        """Queue a job's dead letters again under the sequences they had; returns the batches."""
        letters = sorted(self.dead(job), key=lambda d: (d.sequence, d.document.doi))
        numbers = []
        for sequence, group in groupby(letters, key=lambda d: d.sequence):
            documents = [letter.document for letter in group]
            dois = [d.doi for d in documents]
            number = self._run("replay", job, sequence, len(dois), pack(documents), *dois)
            if number == NOT_SEALED:
                raise JobUnknown(
                    f"job {job!r} is still being produced; replay it when it is sealed"
                )
            if number >= 0:
                numbers.append(number)
        return numbers

    def _known(self, job: str) -> Job | None:
        try:
            return self.job(job)
        except JobUnknown:
            with translated_errors():
                self._redis.zrem("doivec:jobs", job)
            return None


def _time(microseconds: str | bytes) -> datetime:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)


def _address(member: bytes) -> tuple[str, int]:
    job, _, number = member.decode().rpartition(":")
    return job, int(number)


def _state(fields: Mapping[str, str]) -> JobState:
    for field, state in (
        ("settled_at", JobState.SETTLED),
        ("paused_at", JobState.PAUSED),
        ("sealed_at", JobState.SEALED),
    ):
        if field in fields:
            return state
    return JobState.OPEN


def _job(job: str, fields: Mapping[str, str]) -> Job:
    times = {n: _time(fields[n]) for n in ("created_at", "settled_at") if n in fields}
    names = Job.model_fields.keys() & fields.keys() - times.keys()
    return Job.model_validate(
        {"id": job, "state": _state(fields), **times} | {n: fields[n] for n in names}
    )
