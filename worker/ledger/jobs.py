"""Jobs: asking after them, and steering them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from schemas.job import Job, JobState, Reading
from worker.errors import JobUnknown
from worker.ledger.damage import undamaged
from worker.ledger.failures import translated_errors
from worker.ledger.state import SharedState

TIMES = ("created_at", "began_at", "moved_at", "settled_at")


class Jobs(SharedState):
    """What the ledger says of jobs; they may be cancelled and resumed."""

    def job(self, job: str) -> Job:
        """A job's counts; raises `JobUnknown`."""
        with translated_errors():
            fields = cast(dict[bytes, bytes], self._redis.hgetall(f"doivec:job:{job}"))
        if b"created_at" not in fields:
            raise JobUnknown(f"no job {job!r}: it never was, or its retention time is over")
        with undamaged(f"job {job}"):
            return _job(job, {name.decode(): value.decode() for name, value in fields.items()})

    def jobs(self, limit: int = 20) -> list[Job]:
        """The latest jobs, newest first."""
        with translated_errors():
            names = cast(list[bytes], self._redis.zrange("doivec:jobs", 0, limit - 1, desc=True))
        with undamaged("doivec:jobs"):
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

    def _known(self, job: str) -> Job | None:
        try:
            return self.job(job)
        except JobUnknown:
            with translated_errors():
                self._redis.zrem("doivec:jobs", job)
            return None


def time_of(microseconds: str | bytes) -> datetime:
    """A time as the ledger has it."""
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)


def _state(fields: Mapping[str, str]) -> JobState:
    for field, state in (
        ("rejected_at", JobState.REJECTED),
        ("settled_at", JobState.SETTLED),
        ("paused_at", JobState.PAUSED),
        ("sealed_at", JobState.SEALED),
    ):
        if field in fields:
            return state
    return JobState.OPEN


def _job(job: str, fields: Mapping[str, str]) -> Job:
    times = {n: time_of(fields[n]) for n in TIMES if n in fields}
    names = Job.model_fields.keys() & fields.keys() - times.keys() - {"reading"}
    reading = Reading.model_validate_json(fields.get("reading", "{}"))
    return Job.model_validate(
        {"id": job, "state": _state(fields), "reading": reading, **times}
        | {n: fields[n] for n in names}
    )
