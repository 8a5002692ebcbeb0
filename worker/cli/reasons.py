"""Why a job doesn't move: what its workers say."""

from collections.abc import Iterator, Sequence

from schemas.job import Job
from schemas.worker import WorkerState

SHOWN = 3
NOBODY = "no worker has claimed anything: is one running? `doi-worker run` is one"


def reason(job: Job, workers: Sequence[WorkerState]) -> str:
    """Why nothing of a job moves, in a line."""
    if not workers:
        return NOBODY
    for words in (_waits(workers), _in_hand(job, workers), _elsewhere(job, workers)):
        if words:
            return words
    names = ", ".join(worker.name for worker in workers[:SHOWN])
    starting = [worker for worker in workers if worker.phase == "starting"]
    if len(starting) == len(workers):
        return f"its worker is starting, and has not loaded the model yet ({names})"
    if job.accepted == job.settled:
        return "all that was accepted has settled: its source gives nothing more just now"
    return f"its batches are queued, and no worker has taken one yet ({names})"


def _waits(workers: Sequence[WorkerState]) -> str:
    """What is waited for; the same words of several workers once."""
    waits = dict.fromkeys(worker.waiting for worker in workers if worker.waiting)
    return "; ".join(waits)


def _in_hand(job: Job, workers: Sequence[WorkerState]) -> str:
    found = [
        f"batch {batch.number} is in hand at {worker.name} for {batch.for_s:,.0f} s"
        f" ({batch.embedded:,} of {batch.records:,} records embedded)"
        for worker in workers
        for batch in worker.in_hand
        if batch.job == job.id
    ]
    return _few(found)


def _elsewhere(job: Job, workers: Sequence[WorkerState]) -> str:
    others = {batch.job for worker in workers for batch in worker.in_hand} - {job.id}
    return f"workers are at other jobs: {_few(sorted(others))}" if others else ""


def _few(words: Sequence[str]) -> str:
    more = len(words) - SHOWN
    return "; ".join(words[:SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def embedded(job: str, workers: Sequence[WorkerState]) -> int:
    """How many records of a job are embedded in batches that have not settled."""
    return sum(_counts(job, workers))


def _counts(job: str, workers: Sequence[WorkerState]) -> Iterator[int]:
    for worker in workers:
        yield from (batch.embedded for batch in worker.in_hand if batch.job == job)
