"""The ledger: jobs, batches, leases and settlement in Redis; the only place with redis.

The ledger remembers, Celery only carries. Each step that must be whole is one Lua script (see
`worker/lua/`); times are Redis's own, so that no two machines' clocks need agree.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple, cast
from uuid import uuid4

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from schemas.job import Batch, DeadLetter, Job, JobState, Rejection, State, pack, unpack
from worker.errors import ConfigurationError, JobUnknown, LedgerUnavailable, SourceError
from worker.settings import IngestSettings, RedisSettings

SWEEP_LIMIT = 1000
SAMPLE_REJECTIONS = 20
SCRIPTS = tuple(
    name.removesuffix(".lua")
    for name in (f.name for f in (files("worker") / "lua").iterdir())
    if name != "shared.lua"
)
NOT_SEALED = -2


class Claim(NamedTuple):
    """A batch under lease.

    `deaths` counts, by index, how often a worker died on that record; `contested` says that an
    older record of another job may still be written; `epoch` is the newest tombstone.
    """

    batch: Batch
    token: str
    claims: int
    deaths: Mapping[int, int]
    contested: bool
    epoch: str

    @property
    def member(self) -> str:
        """The batch's name in the ledger."""
        return f"{self.batch.job}:{self.batch.number}"


class Acceptance(NamedTuple):
    """What became of a batch offered to the ledger, and how many now wait in it."""

    verdict: str
    outstanding: int


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise redis's errors as the worker's own."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise ConfigurationError(f"Redis refused the password: {error}") from error
    except redis.RedisError as error:
        raise LedgerUnavailable(f"Redis: {error}") from error


class Ledger:
    """Jobs and batches in Redis.

    Every method raises `LedgerUnavailable` when Redis does not answer; all are safe to repeat
    and may be called from any thread.
    """

    def __init__(self, client: redis.Redis, *, options: IngestSettings) -> None:
        self._redis = client
        self._options = options
        self._retention_s = int(options.retention_s)
        folder = files("worker") / "lua"
        shared = (folder / "shared.lua").read_text()
        self._scripts = {
            name: client.register_script(shared + (folder / f"{name}.lua").read_text())
            for name in SCRIPTS
        }

    @classmethod
    def connect(cls, settings: RedisSettings, *, options: IngestSettings) -> "Ledger":
        """The ledger at `settings.url`; raises `ConfigurationError` for a URL that is none."""
        try:
            client = redis.Redis.from_url(
                settings.url or "",
                socket_timeout=settings.timeout_s,
                socket_connect_timeout=settings.timeout_s,
                health_check_interval=30,
                retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), 3),
            )
        except ValueError as error:
            raise ConfigurationError(f"DOIVEC_REDIS__URL: {error}") from error
        return cls(client, options=options)

    def ping(self) -> None:
        """Check that Redis answers."""
        with translated_errors():
            self._redis.ping()

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    # Producing

    def open(self, job: str, *, identity: str | None, source: str, batch_records: int) -> Job:
        """Open a job, or take up the open one of the same identity; a paused one goes on."""
        found = self._run("open", job, identity or "", source, batch_records)
        self.resume(found[0].decode())
        return self.job(found[0].decode())

    def accept(self, job: str, number: int, documents: Sequence[Any]) -> Acceptance:
        """Take a batch of documents into the ledger; one that is there is left as it is."""
        verdict, outstanding = self._run("accept", job, number, len(documents), pack(documents))
        return Acceptance(verdict.decode(), outstanding)

    def outstanding(self) -> int:
        """How many batches have not settled."""
        with translated_errors():
            return self._redis.zcard("doivec:outstanding")

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
        _, body, sequence, claims, deaths, contested, epoch = answer
        batch = Batch.model_construct(
            job=job,
            number=number,
            sequence=int(sequence),
            accepted_at=_time(sequence),
            documents=unpack(body),
        )
        counts = {int(index): count for index, count in json.loads(deaths).items()}
        return Claim(batch, token, claims, counts, bool(contested), epoch.decode())

    def renew(self, claim: Claim) -> bool:
        """Prolong a lease; False where the batch is no longer this worker's."""
        return bool(self._run("renew", claim.member, claim.token, self._lease_ms))

    def release(self, claim: Claim) -> None:
        """Give a batch back without counting the claim."""
        self._run("release", claim.member, claim.token)

    def mark(self, claim: Claim, index: int) -> bool:
        """Note that the record at `index` is tried next; False where the batch was lost."""
        return bool(self._run("mark", claim.member, claim.token, index))

    def settle(self, claim: Claim, counts: Mapping[State, int], dead: Sequence[DeadLetter]) -> str:
        """Settle a batch, once: 'settled', 'lost', or 'deleted' where tombstones are newer."""
        letters = [part for d in dead for part in (d.document.doi, d.model_dump_json())]
        verdict = self._run(
            "settle",
            *(claim.batch.job, claim.batch.number, claim.token, claim.epoch),
            *(self._retention_s, self._options.pause_records, self._options.pause_share),
            *(counts.get(state, 0) for state in State),
            *letters,
        )
        return cast(bytes, verdict).decode()

    def lost(self, *, queue_is_empty: bool) -> list[tuple[str, int]]:
        """Batches to queue again, as (job, number); they count as queued from now on."""
        members = self._run("lost", self._lease_ms, int(queue_is_empty), SWEEP_LIMIT)
        return [_address(member) for member in members]

    @contextmanager
    def sweeping(self) -> Iterator[bool]:
        """Whether this process may sweep now; one does at a time, on any machine."""
        name, ttl_ms = "doivec:sweeping", int(self._options.sweep_s * 2000)
        with translated_errors():
            mine = bool(self._redis.set(name, uuid4().hex, nx=True, px=ttl_ms))
        yield mine
        if mine:
            with translated_errors():
                self._redis.delete(name)

    @contextmanager
    def exclusive(self, name: str, *, timeout_s: float) -> Iterator[None]:
        """Hold a lock that all processes share; raises `LedgerUnavailable` after `timeout_s`."""
        lock = self._redis.lock(f"doivec:lock:{name}", timeout=60, blocking_timeout=timeout_s)
        with translated_errors(), lock:
            yield

    def queue_length(self, queue: str) -> int:
        """How many messages wait in a Celery queue."""
        with translated_errors():
            return self._redis.llen(queue)

    # Tombstones

    def bury(self, ids: Sequence[str]) -> int:
        """Leave tombstones for ids; returns their sequence."""
        return int(self._run("bury", *ids))

    def epoch(self) -> str:
        """The sequence of the newest tombstone, '0' where there is none."""
        with translated_errors():
            return cast(bytes, self._redis.get("doivec:epoch") or b"0").decode()

    def buried(self, ids: Sequence[str]) -> dict[str, int]:
        """The tombstones among ids, each with its sequence."""
        with translated_errors():
            if not ids or not self._redis.exists("doivec:tombstones"):
                return {}
            scores = self._redis.zmscore("doivec:tombstones", list(ids))
        return {i: int(s) for i, s in zip(ids, scores, strict=True) if s is not None}

    def tombstones(self, offset: int, count: int) -> dict[str, int]:
        """A page of tombstones, newest first, each with its sequence."""
        with translated_errors():
            rows = self._redis.zrange(
                "doivec:tombstones", offset, offset + count - 1, desc=True, withscores=True
            )
        return {row[0].decode(): int(row[1]) for row in cast(list[tuple[bytes, float]], rows)}

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

    @property
    def _lease_ms(self) -> int:
        return int(self._options.lease_s * 1000)

    def _run(self, script: str, *arguments: Any) -> Any:
        with translated_errors():
            return cast(Callable[..., Any], self._scripts[script])(args=arguments)


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
