"""The ledger: jobs, batches, claims and settlement in Redis.

The ledger remembers, Celery only carries.
"""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast
from uuid import uuid4

from schemas.job import (
    Batch,
    DeadLetter,
    Job,
    Reading,
    Rejection,
    State,
    pack,
    unpack,
)
from worker.errors import JobConflict, LedgerDamaged, SourceError
from worker.ledger.copying import Copying
from worker.ledger.damage import undamaged
from worker.ledger.facts import Facts
from worker.ledger.failures import translated_errors
from worker.ledger.jobs import Jobs, time_of
from worker.ledger.kept import Kept, address, sequence_of
from worker.ledger.state import Route
from worker.ledger.workers import Workers

log = logging.getLogger(__name__)

SWEEP_LIMIT = 1000
SAMPLE_REJECTIONS = 20
REFUSALS = 10  # of batches given back for the same want, before their job pauses
SILENT_LEASES = 15  # in which a producer says nothing before it counts as gone
GONE = "its producer ended before it had read all: queue the source again for the rest"


class Claim(NamedTuple):
    """A batch under lease.

    `deaths` counts, by index, how often a worker died on that record; `epoch` is the newest
    tombstone, `route` the one that the batch is written by. A batch of a backfill has `copies`
    instead: the collection that its records are read from, and the one that they are copied to.
    """

    batch: Batch
    token: str
    claims: int
    deaths: Mapping[int, int]
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


class Ledger(Copying, Facts, Jobs, Kept, Workers):
    """Jobs and batches in Redis, and what else processes share there (see `SharedState`)."""

    # Producing

    def open(
        self,
        job: str,
        *,
        identity: str | None,
        source: str,
        batch_records: int,
        digest: str | None = None,
        copies: tuple[str, str] = ("", ""),
    ) -> Job:
        """Open a job, or take up the open one of the same identity; a paused one goes on.

        `digest` tells what the job holds, `identity` unless given. `copies` makes it a backfill:
        it copies records from a collection to another one. Raises `JobConflict` where the job
        holds another list.
        """
        known = digest or identity or ""
        found, _, is_other = self._run(
            "open", job, identity or "", known, source, batch_records, self._silence_ms, *copies
        )
        if is_other:
            raise JobConflict(f"job {job!r} holds another list; give this one another name")
        self.resume(found.decode())
        return self.job(found.decode())

    def accept(
        self,
        job: str,
        number: int,
        documents: Sequence[Any],
        *,
        again: Collection[str] = (),
        sequence: int | None = None,
    ) -> Acceptance:
        """Take a batch of documents into the ledger; one that is there is left as it is.

        `again` are those DOIs that an earlier batch of the job has, too; `sequence` is that under
        which a batch was accepted before, which is repaired.
        """
        verdict, outstanding = self._run(
            *("accept", job, number, len(documents), pack(documents), self._silence_ms),
            " ".join(sorted(again)),
            sequence or "",
        )
        return Acceptance(verdict.decode(), outstanding)

    def produce(self, job: str) -> None:
        """Say that the producer of an open job is alive, though it accepts nothing just now."""
        self._run("produce", job, self._silence_ms)

    def abandoned(self) -> list[str]:
        """Seal the open jobs whose producers are gone: what they accepted settles; their ids."""
        found = self._run("abandoned", GONE, self._retention_s, SWEEP_LIMIT)
        with undamaged("doivec:open"):
            return [job.decode() for job in found]

    def reject(self, job: str, *, source: str, reason: str, digest: str = "") -> None:
        """Keep a list that can't be taken in as a job in state `rejected`, with the reason.

        Where batches of it are in the ledger already, these settle, and the reason is their job's
        note.
        """
        self._run("reject", job, source, reason, digest, self._retention_s)

    def outstanding(self, *, backfill: bool = False) -> int:
        """How many batches have not settled, of those that bring records or of backfills."""
        with translated_errors():
            return self._redis.zcard("doivec:backfill" if backfill else "doivec:outstanding")

    def seal(
        self,
        job: str,
        batches: int,
        *,
        repeated: int,
        invalid: int,
        without_doi: int = 0,
        reading: Reading | None = None,
    ) -> bool:
        """Say that a job is complete; False where some of its batches are not there.

        Of a job that was cancelled only what was read is noted.
        """
        told = (reading or Reading()).model_dump_json()
        there = self._run(
            *("seal", job, batches, repeated, invalid, without_doi, told, self._retention_s)
        )
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
                pipe.expire(f"doivec:rejects:{job}", self._retention_s)
            pipe.execute()

    def rejections(self, job: str) -> list[Rejection]:
        """The first few rejections of a job."""
        with translated_errors():
            rows = cast(list[bytes], self._redis.lrange(f"doivec:rejects:{job}", 0, -1))
        with undamaged(f"a rejection of job {job}"):
            return [Rejection(*json.loads(row)) for row in rows]

    # Working

    def claim(self, job: str, number: int) -> Claim | None:
        """Lease a batch; None where it has settled, is held by another, or its job is paused.

        One that is damaged is given back with the reason, and `LedgerDamaged` raised.
        """
        token = uuid4().hex
        answer = self._run("claim", job, number, token, self._lease_ms)
        if answer[0] != b"claimed":
            return None
        try:
            with undamaged(f"batch {job}:{number}"):
                return _claim(job, number, token, answer[1:])
        except LedgerDamaged as error:
            self._run("release", f"{job}:{number}", token, str(error), REFUSALS)
            raise

    def contested(self, batch: Batch, dois: Sequence[str]) -> set[str]:
        """Those of a batch's `dois` of which an older record may still be written.

        What is not among them has been written, where it was, when this returns: look into the
        store after that.
        """
        others, own, *dead = self._run("older", batch.job, batch.sequence, *dois)
        if others:
            return set(dois)
        again = batch.again.intersection(dois) if own else set()
        return {*again, *(doi.decode() for doi in dead)}

    def next_copy(self) -> tuple[str, int] | None:
        """The oldest batch of a backfill that nobody holds and that isn't paused: (job, number)."""
        member = self._run("next_copy", SWEEP_LIMIT)
        with undamaged("doivec:backfill"):
            return address(member) if member else None

    def follow(self, claim: Claim) -> Claim | None:
        """The claim, by the route as it is now; None where the batch is no longer its own."""
        route = self._run("follow", claim.member, claim.token)
        return claim._replace(route=Route.read(route)) if route else None

    def untaken(self) -> list[str]:
        """The DOIs of records that the last candidate could not take when they came."""
        with translated_errors():
            members = cast(set[bytes], self._redis.smembers("doivec:untaken"))
        with undamaged("doivec:untaken"):
            return sorted(member.decode() for member in members)

    def stragglers(self) -> int:
        """How many batches in hand are written by an older route than the present one."""
        return cast(int, self._run("stragglers"))

    def renew(self, claim: Claim) -> bool:
        """Prolong a lease; False where the batch is no longer this worker's."""
        return bool(self._run("renew", claim.member, claim.token, self._lease_ms))

    def begin(self, claim: Claim) -> bool:
        """Note that records of a batch may be stored from now on; False where it was lost."""
        return bool(self._run("begin", claim.member, claim.token))

    def release(self, claim: Claim, *, reason: str = "") -> None:
        """Give a batch back without counting the claim.

        A `reason` is the job's note from then on; after ten, with no batch settled between them,
        the job pauses. A copy comes after all others then.
        """
        self._run("release", claim.member, claim.token, reason, REFUSALS)

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
        """Batches to queue again, as (job, number); they count as queued from now on.

        A lease of what is no batch's name is logged, and gone.
        """
        found: list[tuple[str, int]] = []
        offset, looked = 0, SWEEP_LIMIT
        while looked == SWEEP_LIMIT:
            looked, *members = self._run(
                "lost", self._lease_ms, int(queue_is_empty), offset, SWEEP_LIMIT
            )
            for member in members:
                try:
                    with undamaged("the name of a batch in doivec:leases"):
                        found.append(address(member))
                except LedgerDamaged as error:
                    log.error("%s", error)  # noqa: TRY400 - nothing is lost, and others go on
            offset += SWEEP_LIMIT
        return list(dict.fromkeys(found))

    def tidy(self) -> None:
        """Let go of what names jobs whose retention time is over."""
        self._run("tidy", SWEEP_LIMIT)

    @property
    def _silence_ms(self) -> int:
        return SILENT_LEASES * self._lease_ms


def _claim(job: str, number: int, token: str, found: Sequence[Any]) -> Claim:
    body, sequence, again, claims, deaths, epoch, route, *copies = found
    documents = unpack(body)
    every = (document.doi for document in documents)
    batch = Batch.model_construct(
        job=job,
        number=number,
        sequence=sequence_of(sequence),
        accepted_at=time_of(sequence),
        documents=documents,
        again=frozenset(every if again == b"*" else again.decode().split()),
    )
    counts = {int(index): int(count) for index, count in json.loads(deaths).items()}
    return Claim(
        *(batch, token, claims, counts),
        *(str(int(epoch)), Route.read(route)),
        copies=(copies[0].decode(), copies[1].decode()) if copies[1] else None,
    )
