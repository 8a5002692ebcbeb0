"""What a worker says of itself, on a real ledger."""

import time
from pathlib import Path

import pytest
import redis
from prometheus_client.core import Metric

from schemas.document import Document
from tests.support.servers import RedisServer, wait_until
from worker.errors import JobUnknown, LedgerUnavailable
from worker.ingest.presence import Presence, finishing
from worker.ingest.vitals import VitalsCollector
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.settings.environment import Settings
from worker.settings.ingest import IngestSettings
from worker.settings.watching import MetricsSettings

DOCUMENTS = [Document(doi=f"10.1000/{n}") for n in range(10)]


@pytest.fixture
def options() -> IngestSettings:
    return IngestSettings(lease_s=0.5)


def presence(ledger: Ledger, folder: Path, *, stalled_s: float = 600.0) -> Presence:
    settings = Settings(data_dir=folder, metrics=MetricsSettings(stalled_s=stalled_s))
    return Presence(ledger, settings, queues=("celery", "ingest"), patience=Patience())


def queue(ledger: Ledger, job: str, *, batches: int = 1) -> None:
    ledger.open(job, identity=None, source="a.txt", batch_records=10)
    for number in range(batches):
        ledger.accept(job, number, DOCUMENTS)
    ledger.seal(job, batches, repeated=0, invalid=0)


def test_all_see_what_a_worker_has_in_hand(ledger: Ledger, tmp_path: Path) -> None:
    queue(ledger, "job")
    mine = presence(ledger, tmp_path)
    claim = ledger.claim("job", 0)
    assert claim
    with mine.desk.work("job", 0, records=10) as work:
        work.embed(4)
        mine.beat()
        (seen,) = ledger.workers()
        assert seen.name == f"{seen.host}:{seen.pid}"
        assert (seen.phase, seen.in_hand[0].embedded) == ("starting", 4)
        assert "finishing 1 batch in hand; Ctrl-C again to leave it" in finishing(seen)
        ledger.settle(claim, {}, [])
        (seen,) = ledger.workers()
        assert seen.in_hand == (), "it has settled, whatever the worker said before"
    mine.stop()
    assert ledger.workers() == []


def test_who_is_silent_is_gone_after_a_lease(
    ledger: Ledger, tmp_path: Path, redis_server: RedisServer
) -> None:
    presence(ledger, tmp_path).beat()
    assert len(ledger.workers()) == 1
    wait_until(lambda: ledger.workers() == [])
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.keys("doivec:worker*") == [], "nothing is left of it"


def test_one_that_has_work_and_settles_nothing_is_unhealthy(ledger: Ledger, tmp_path: Path) -> None:
    mine = presence(ledger, tmp_path, stalled_s=0.05)
    time_to_stall = time.monotonic() + 0.1
    wait_until(lambda: time.monotonic() > time_to_stall)
    assert mine.trouble() == "", "it has nothing to do"
    with mine.desk.work("job", 0, records=10):
        wait_until(lambda: mine.trouble().startswith("nothing has settled for"))
        mine.beat()
        assert ledger.workers()[0].trouble
        mine.desk.settle(10)
        assert mine.trouble() == ""


def test_messages_that_nobody_takes_make_it_unhealthy_too(
    ledger: Ledger, tmp_path: Path, redis_server: RedisServer
) -> None:
    mine = presence(ledger, tmp_path, stalled_s=0.05)
    with redis.Redis.from_url(redis_server.url) as client:
        client.lpush("ingest", "a message")
        mine.look()
        wait_until(lambda: bool(mine.trouble()))


def test_what_it_waits_for_is_told_to_all(ledger: Ledger, tmp_path: Path) -> None:
    mine = presence(ledger, tmp_path)
    seen: list[str] = []

    def call() -> None:
        if not seen:
            mine.beat()
            seen.append(ledger.workers()[0].waiting)
            raise LedgerUnavailable("Redis: away")
        mine.beat()
        seen.append(ledger.workers()[0].waiting)

    Patience.__call__(mine.patience, call)
    assert seen == ["", "Redis: away"]
    assert mine.state().waiting == ""


def sample(metrics: list[Metric], name: str, **labels: str) -> float:
    samples = (s for metric in metrics for s in metric.samples)
    return next(s.value for s in samples if s.name == name and s.labels == labels)


def test_its_metrics_are_what_it_saw_last(
    ledger: Ledger, tmp_path: Path, redis_server: RedisServer
) -> None:
    queue(ledger, "job", batches=2)
    mine = presence(ledger, tmp_path)
    collector = VitalsCollector(mine)
    assert "doivec_outstanding_batches" not in [m.name for m in collector.collect()]
    mine.look()
    found = list(collector.collect())
    assert sample(found, "doivec_outstanding_batches", work="ingest") == 2
    assert sample(found, "doivec_outstanding_batches", work="paused") == 0
    assert 0 < sample(found, "doivec_oldest_outstanding_seconds") < 60
    assert sample(found, "doivec_queue_messages", queue="ingest") == 0
    assert sample(found, "doivec_stalled") == 0


def test_a_job_is_found_by_its_beginning(ledger: Ledger) -> None:
    for name in ("3f2a9c01", "3f2b", "a[*]b", "a[*]b2"):
        queue(ledger, name)
    assert ledger.find("3f2a") == "3f2a9c01"
    assert ledger.find("a[*]b") == "a[*]b", "a whole id is that job, whatever begins with it"
    assert ledger.find("nothing") == "nothing"
    with pytest.raises(JobUnknown, match="2 jobs begin with '3f': 3f2a9c01, 3f2b"):
        ledger.find("3f")
    with pytest.raises(JobUnknown, match=r"2 jobs begin with 'a\[\*'"):
        ledger.find("a[*")


def test_a_job_knows_when_it_began_and_moved(ledger: Ledger) -> None:
    queue(ledger, "job")
    assert ledger.job("job").began_at is None
    claim = ledger.claim("job", 0)
    assert claim
    began = ledger.job("job").began_at
    assert began is not None
    assert ledger.job("job").moved_at is None
    ledger.settle(claim, {}, [])
    moved = ledger.job("job").moved_at
    assert moved is not None
    assert moved >= began
