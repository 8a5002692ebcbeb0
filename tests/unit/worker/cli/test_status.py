"""What `status` and a watch say of jobs and workers."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.job import Job, JobState
from schemas.worker import InHand, WorkerState
from worker.cli import console, status
from worker.cli.reasons import NOBODY, embedded, reason

BEGAN = datetime(2026, 11, 26, 12, tzinfo=UTC)


def job(name: str = "3f2a9c01d4e5", **more: object) -> Job:
    fields = {
        "id": name,
        "source": "dois.txt",
        "state": JobState.SEALED,
        "created_at": BEGAN,
        "batch_records": 1024,
        "accepted": 10_000,
    }
    return Job.model_validate(fields | more)


def worker(name: str = "host:1", *hand: InHand, **more: object) -> WorkerState:
    fields = {"name": name, "host": "host", "pid": 1, "phase": "working", "in_hand": hand}
    return WorkerState.model_validate(fields | more)


def batch(of: str = "3f2a9c01d4e5", embedded: int = 500) -> InHand:
    return InHand(job=of, number=7, records=1024, embedded=embedded, for_s=12.0)


def test_ids_are_whole_at_80_columns() -> None:
    names = ["3f2a9c01d4e5", "06e699c1-13ba-41f6-a02d-af83ecc8b3fc"]
    long = "a_rather_long_name_of_a_list_of_dois_from_the_library_2024-11-26.txt"
    jobs = [job(name, source=long) for name in names]
    lines = list(status.of_jobs(jobs, [], now_s=BEGAN.timestamp(), width=80))
    for name in names:
        assert sum(name in line for line in lines) == 1
    assert all(len(line) <= 80 for line in lines)
    assert sum("a_rather" in line and "26.txt" in line for line in lines) == len(names)


def test_a_job_has_its_age_share_and_rate() -> None:
    moved = {"began_at": BEGAN + timedelta(seconds=60), "moved_at": BEGAN + timedelta(seconds=80)}
    (line,) = status.of_jobs(
        [job(stored=4000, **moved)],
        [worker("host:1", batch(embedded=500))],
        now_s=BEGAN.timestamp() + 3 * 3600,
        width=80,
    )
    assert " ".join(line.split()) == "3f2a9c01d4e5 sealed 3 h 0 min 45 % 4,500 200/s dois.txt"


def test_what_was_lost_of_a_job_stands_below_it() -> None:
    lost = job(dead=3, invalid=1200, note="nothing works")
    _, below = status.of_jobs([lost], [], now_s=BEGAN.timestamp(), width=80)
    assert below.strip() == "3 dead, 1,200 invalid; nothing works"


def test_why_nothing_moves() -> None:
    this = job()
    away = "Qdrant does not answer at 127.0.0.1:6334: connection refused"
    assert reason(this, []) == NOBODY
    assert reason(this, [worker("a", waiting=away), worker("b", waiting=away)]) == away
    assert "has not loaded the model" in reason(this, [worker(phase="starting")])
    assert "batch 7 is in hand at host:1 for 12 s (500 of 1,024" in reason(
        this, [worker("host:1", batch())]
    )
    assert reason(this, [worker("host:1", batch("other"))]) == "workers are at other jobs: other"
    assert "no worker has taken one" in reason(this, [worker()])


def test_embedded_records_of_other_jobs_do_not_count() -> None:
    workers = [worker("a", batch(), batch("other")), worker("b", batch(embedded=1))]
    assert embedded("3f2a9c01d4e5", workers) == 501


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("dois.txt", "dois.txt"),
        ("a_rather_long_name_2024.txt", "a_rath…24.txt"),
        ("", ""),
    ],
)
def test_names_are_shortened_in_the_middle(text: str, short: str) -> None:
    assert console.shortened(text, 13) == short
