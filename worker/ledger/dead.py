"""Dead letters: records that could not be stored, kept by job and DOI, and queued again."""

from collections.abc import Iterator
from itertools import groupby
from typing import cast

from schemas.job import DeadLetter, pack
from worker.errors import JobUnknown
from worker.ledger.damage import undamaged
from worker.ledger.failures import translated_errors
from worker.ledger.state import SharedState

NOT_SEALED = -2


class DeadLetters(SharedState):
    """The dead letters of all jobs; of a DOI a job may have several, each from another batch."""

    def dead(self, job: str | None = None) -> Iterator[DeadLetter]:
        """The dead letters of a job, or of all jobs, a few at a time."""
        with translated_errors():
            for name in [job] if job else self.jobs_with_dead():
                for _, letters in self._redis.hscan_iter(f"doivec:dead:{name}", count=500):
                    yield from read_letters(name, letters)

    def letters(self, doi: str) -> list[DeadLetter]:
        """The dead letters of one DOI."""
        with translated_errors():
            jobs = self.jobs_with_dead()
            found = [(job, self._redis.hget(f"doivec:dead:{job}", doi)) for job in jobs]
        return [
            letter
            for job, lines in found
            if lines
            for letter in read_letters(job, cast(bytes, lines))
        ]

    def jobs_with_dead(self) -> list[str]:
        """The jobs that have dead letters."""
        with translated_errors():
            members = cast(set[bytes], self._redis.smembers("doivec:dead"))
        with undamaged("doivec:dead"):
            return sorted(member.decode() for member in members)

    def replay(self, job: str) -> list[int]:
        """Queue a job's dead letters again under the sequences they had; returns the batches."""
        # a scan may repeat one
        found = {(letter.sequence, letter.document.doi): letter for letter in self.dead(job)}
        letters = [letter for _, letter in sorted(found.items())]
        self._run("resume", job)
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


def read_letters(job: str, lines: bytes) -> list[DeadLetter]:
    """The letters that a job has of one DOI; raises `LedgerDamaged`."""
    with undamaged(f"a dead letter of job {job}"):
        return [DeadLetter.model_validate_json(line) for line in lines.splitlines()]
