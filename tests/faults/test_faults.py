"""Each fault of DESIGN.md, on real processes: the job settles in full, without help."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.job import Job
from tests.support.deployment import Deployment, deployed, expected_ids
from tests.support.paths import DOIS, EXAMPLES
from tests.support.servers import wait_until
from worker.app import BATCH_TASK, INGEST, make_app

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def deployment(tmp_path: Path, tiny_model: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, model=tiny_model, DOIVEC_INGEST__BATCH_RECORDS="20") as made:
        yield made


def check(deployment: Deployment, job: Job) -> None:
    """Nothing lost, nothing twice."""
    assert job.accepted == len(DOIS)
    assert job.settled == job.accepted
    assert job.stored == len(DOIS), job
    assert deployment.ids() == expected_ids(DOIS)


@pytest.mark.parametrize("seed", range(2))
def test_workers_killed_at_any_moment(deployment: Deployment, seed: int) -> None:
    moments = random.Random(seed)
    worker = deployment.start_worker()
    wait_until(lambda: deployment.stored() == 0 and "ready" in worker.words)
    job = deployment.queue(EXAMPLES)
    for _ in range(3):
        target = moments.randrange(0, len(DOIS))
        wait_until(
            lambda at=target: deployment.stored() >= at or deployment.job(job).settled == len(DOIS),
            while_true=lambda: worker.process.poll() is None,
            what=lambda: worker.words,
        )
        worker.kill()
        worker = deployment.start_worker()
    check(deployment, deployment.settled(job))


def test_a_worker_killed_between_the_upsert_and_the_settling(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    wait_until(lambda: "ready" in worker.words, while_true=lambda: worker.process.poll() is None)
    with deployment.redis_client() as redis:
        job = deployment.queue(EXAMPLES)
        wait_until(lambda: deployment.job(job).settled > 0)
        redis.client_pause(20_000, all=False)  # writes only: what is upserted can't settle
        settled = deployment.job(job).settled
        wait_until(lambda: deployment.stored() > settled)
        worker.kill()
        redis.client_unpause()
    assert deployment.job(job).settled < deployment.stored(), "upserted, not settled"
    deployment.start_worker()
    check(deployment, deployment.settled(job))


def test_qdrant_away_for_a_while(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    job = deployment.queue(EXAMPLES)
    wait_until(lambda: deployment.job(job).settled > 0, what=lambda: worker.words)
    deployment.qdrant.stop()
    wait_until(lambda: "waiting" in worker.words)
    deployment.qdrant.start()
    check(deployment, deployment.settled(job))
    assert worker.process.poll() is None, "the worker came through it"


def test_redis_killed_and_started_again(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    job = deployment.queue(EXAMPLES)
    for share in (0.2, 0.5):
        wait_until(lambda at=share: deployment.job(job).settled >= at * len(DOIS))
        deployment.redis.kill()
        deployment.redis.start()
    check(deployment, deployment.settled(job))
    assert worker.process.poll() is None, "the worker came through it"


def test_every_message_twice_and_in_another_order(deployment: Deployment) -> None:
    job = deployment.queue(EXAMPLES)
    application = make_app(lambda: deployment.settings)
    numbers = list(range(deployment.job(job).batches)) * 2
    random.Random(7).shuffle(numbers)
    with deployment.redis_client() as redis:
        redis.delete(INGEST)
    for number in numbers:
        application.send_task(BATCH_TASK, args=[job, number], queue=INGEST)
    application.close()
    workers = [deployment.start_worker(), deployment.start_worker()]
    check(deployment, deployment.settled(job))
    with deployment.redis_client() as redis:
        wait_until(lambda: redis.llen(INGEST) == 0)
    for worker in workers:
        worker.stop()
    check(deployment, deployment.job(job))


def test_messages_that_redis_lost_are_sent_again(deployment: Deployment) -> None:
    job = deployment.queue(EXAMPLES)
    with deployment.redis_client() as redis:
        assert redis.delete(INGEST) == 1
    deployment.start_worker()
    check(deployment, deployment.settled(job))


def test_a_frozen_worker_that_wakes_late_does_no_harm(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    job = deployment.queue(EXAMPLES)
    wait_until(lambda: deployment.job(job).settled > 0, what=lambda: worker.words)
    worker.process.send_signal(signal.SIGSTOP)
    other = deployment.start_worker()
    check(deployment, deployment.settled(job))
    worker.process.send_signal(signal.SIGCONT)
    worker.stop()
    other.stop()
    check(deployment, deployment.job(job))


def test_a_worker_told_to_stop_finishes_what_it_has(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    job = deployment.queue(EXAMPLES)
    wait_until(lambda: deployment.job(job).settled > 0, what=lambda: worker.words)
    assert worker.stop() == 0
    deployment.start_worker()
    check(deployment, deployment.settled(job))
