"""What jobs accepted, as long as the ledger keeps it: for whoever holds it against the store."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, cast

from schemas.document import Document
from schemas.job import unpack
from worker.ledger.damage import undamaged
from worker.ledger.dead import DeadLetters, read_letters
from worker.ledger.failures import translated_errors

JOBS_A_PAGE = 500
BATCHES_A_PAGE = 16  # of 1,024 records of up to 1 MiB each, compressed


class End(StrEnum):
    """What became of a batch that was accepted."""

    SETTLED = "settled"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    GONE = "gone"  # its retention time is over, or Redis lost it


class KeptBatch(NamedTuple):
    """A batch that was accepted; one that is gone has neither sequence nor documents."""

    job: str
    number: int
    end: End
    sequence: int = 0
    documents: Sequence[Document] = ()


class Kept(DeadLetters):
    """The batches of jobs, settled or not, in flat memory."""

    def every_job(self) -> Iterator[str]:
        """The ids of all jobs that bring records, oldest first; not those that copy them."""
        offset = 0
        while True:
            with translated_errors():
                found = self._redis.zrange("doivec:jobs", offset, offset + JOBS_A_PAGE - 1)
                with undamaged("doivec:jobs"):
                    names = [name.decode() for name in cast(list[bytes], found)]
                with self._redis.pipeline(transaction=False) as pipe:
                    for name in names:
                        pipe.hmget(f"doivec:job:{name}", "created_at", "copies_to")
                    rows = pipe.execute()
            told = zip(names, rows, strict=True)
            yield from (name for name, (created, copies) in told if created and not copies)
            if len(names) < JOBS_A_PAGE:
                return
            offset += JOBS_A_PAGE

    def kept(self, job: str) -> Iterator[KeptBatch]:
        """Every batch of a job, replays too, in the order of their numbers."""
        return self._batches(job, range(self._last(job)))

    def dead_among(self, sequence: int, dois: Sequence[str]) -> set[str]:
        """Those of some DOIs of which there are dead letters of this sequence."""
        with translated_errors():
            jobs = self.jobs_with_dead() if dois else []
            with self._redis.pipeline(transaction=False) as pipe:
                for job in jobs:
                    pipe.hmget(f"doivec:dead:{job}", list(dois))
                rows = pipe.execute()
        told = ((job, lines) for job, row in zip(jobs, rows, strict=True) for lines in row if lines)
        dead = (letter for job, lines in told for letter in read_letters(job, lines))
        return {letter.document.doi for letter in dead if letter.sequence == sequence}

    def again(self, batch: KeptBatch) -> set[str]:
        """The DOIs of a batch that were queued again and have not settled, or were cancelled."""
        with translated_errors():
            produced = self._number(batch.job, "produced")
            # A repair is another job, under the same sequence.
            others = self._redis.zrangebyscore("doivec:outstanding", batch.sequence, batch.sequence)
        found = set[str]()
        for member in cast(list[bytes], others):
            with undamaged("doivec:outstanding"):
                job, number = address(member)
            found |= self._unsettled(job, range(number, number + 1), batch.sequence)
        return found | self._unsettled(
            batch.job, range(produced, self._last(batch.job)), batch.sequence
        )

    def _unsettled(self, job: str, numbers: range, sequence: int) -> set[str]:
        """The DOIs of a job's batches of this sequence that no worker has settled."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hget(f"doivec:batch:{job}:{number}", "sequence")
            rows = pipe.execute()
        told = zip(numbers, rows, strict=True)
        same = [n for n, row in told if row and row == str(sequence).encode()]
        batches = (batch for n in same for batch in self._batches(job, range(n, n + 1)))
        ends = {End.WAITING, End.CANCELLED}
        return {d.doi for batch in batches if batch.end in ends for d in batch.documents}

    def _last(self, job: str) -> int:
        last = self._number(job, "next_number")
        with translated_errors():
            known = 8 * int(self._redis.strlen(f"doivec:accepted:{job}"))  # bits, one a batch
        with undamaged(f"job {job}"):
            if last > known:  # whoever reads on to it may read for ever
                raise ValueError(f"its last batch is number {last}, of {known} at the most")
        return last

    def _number(self, job: str, field: str) -> int:
        with translated_errors():
            found = cast(bytes | None, self._redis.hget(f"doivec:job:{job}", field))
        with undamaged(f"job {job}"):
            number = int(found or 0)
            if number < 0:
                raise ValueError(f"{field} is below 0")
            return number

    def _batches(self, job: str, numbers: range) -> Iterator[KeptBatch]:
        for start in range(numbers.start, numbers.stop, BATCHES_A_PAGE):
            page = range(start, min(start + BATCHES_A_PAGE, numbers.stop))
            with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
                for number in page:
                    pipe.getbit(f"doivec:settled:{job}", number)
                    fields = ("body", "sequence", "settled_by")
                    pipe.hmget(f"doivec:batch:{job}:{number}", *fields)
                rows = iter(pipe.execute())
            for number, is_over, found in zip(page, rows, rows, strict=True):
                yield _batch(job, number, is_over=bool(is_over), fields=found)


def _batch(job: str, number: int, *, is_over: bool, fields: Sequence[bytes | None]) -> KeptBatch:
    body, sequence, settled_by = fields
    if body is None or sequence is None:
        return KeptBatch(job, number, End.GONE)
    over = End.SETTLED if settled_by else End.CANCELLED
    with undamaged(f"batch {job}:{number}"):
        end = over if is_over else End.WAITING
        return KeptBatch(job, number, end, sequence_of(sequence), unpack(body))


def sequence_of(raw: bytes) -> int:
    """A sequence as the ledger has it, in microseconds since 1970; raises ValueError."""
    if (sequence := int(raw)) < 0:
        raise ValueError(f"{sequence} is no sequence")
    return sequence


def address(member: bytes) -> tuple[str, int]:
    """The job and the number in a batch's name in the ledger; raises ValueError."""
    job, _, number = member.decode().rpartition(":")
    return job, int(number)
