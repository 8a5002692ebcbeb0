"""The main path whole: real DOIs, the base model, two worker processes, real servers."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool

from doivec import enqueue, search
from schemas.doi import normalize, point_id
from schemas.job import Job, JobState
from tests.support.deployment import Deployment, deployed, expected_ids
from tests.support.paths import DATA, EXAMPLES, ROOT
from tests.support.servers import wait_until
from tests.support.shell import SCRIPTS, WORKER
from tests.support.tiny_model import make_tiny_model
from worker import bootstrap
from worker.app import make_app
from worker.errors import ConfigurationError, JobUnknown

SHARED = DATA / "dois_100k.txt"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    model = getattr(request, "param", None) or make_tiny_model(tmp_path / "model")
    with deployed(
        tmp_path,
        model=model,
        DOIVEC_INGEST__BATCH_RECORDS="512",
        DOIVEC_EMBED__WORKERS_PER_MACHINE="2",
    ) as made:
        yield made


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
@pytest.mark.parametrize("deployment", ["base"], indirect=True)
def test_eight_thousand_real_dois(deployment: Deployment) -> None:
    dois = SHARED.read_text().splitlines()[:4_000]
    source = deployment.folder / "dois.txt"
    source.write_text("\n".join([*dois, dois[0].upper(), "not a doi"]) + "\n")
    workers = [deployment.start_worker(), deployment.start_worker()]
    job = deployment.settled(deployment.queue(source), timeout_s=400)
    assert (job.read, job.repeated, job.invalid) == (4_002, 1, 1)
    assert job.accepted == 4_000
    states = (job.stored, job.unchanged, job.superseded, job.dead, job.cancelled)
    assert sum(states) == job.accepted
    assert job.stored == job.accepted
    assert deployment.stored() == 4_000
    assert deployment.ids() == expected_ids(dois)
    assert all("records/s" in worker.words for worker in workers), "both worked"


def test_a_list_sent_by_name_is_a_job_of_the_tasks_id_and_repeated_the_same_job(
    deployment: Deployment,
) -> None:
    records = ["10.1038/NPHYS1170", {"doi": "10.1038/nature11543", "title": "T"}, "nonsense", 7]
    stranger = Celery(broker=deployment.redis.url, set_as_current=False)
    task = str(uuid.uuid4())
    for _ in range(2):
        stranger.send_task("worker.ingest", kwargs={"dois": records}, task_id=task)
    stranger.send_task("worker.ingest", kwargs={"dois": "10.1038/srep17338"})
    stranger.close()
    worker = deployment.start_worker()

    def has_settled() -> bool:
        try:
            return deployment.job(task).state is JobState.SETTLED
        except JobUnknown:
            return False

    wait_until(has_settled, what=lambda: worker.words)
    job = deployment.job(task)
    assert (job.read, job.accepted, job.invalid, job.stored) == (4, 2, 2, 2)
    three = expected_ids(["10.1038/nphys1170", "10.1038/nature11543", "10.1038/srep17338"])
    wait_until(lambda: deployment.ids() == three, what=lambda: worker.words)
    with deployment.redis_client() as redis:
        wait_until(lambda: redis.llen("celery") == 0 and redis.hlen("doivec:unacked") == 0)
    assert worker.process.poll() is None


def test_messages_that_are_none_of_ours_stop_nothing_and_lists_that_cant_be_taken_are_jobs(
    deployment: Deployment,
) -> None:
    stranger = Celery(broker=deployment.redis.url, set_as_current=False)
    for number in ("one", None, -1, 2.5):
        stranger.send_task("worker.batch", args=["job", number], queue="ingest")
    stranger.send_task("worker.batch", kwargs={"job": "job"}, queue="ingest")
    wrong = stranger.send_task("worker.ingest", kwargs={"doi": ["10.1038/nphys1170"]}).id
    first = stranger.send_task("worker.ingest", args=[["10.1038/nature11543"]]).id
    stranger.send_task("worker.ingest", args=[["10.1038/srep17338"]], task_id=first)
    stranger.close()
    worker = deployment.start_worker()

    def jobs() -> dict[str, Job]:
        with bootstrap.connect(deployment.settings) as client:
            return {job.id: job for job in client.ledger.jobs()}

    wait_until(lambda: len(jobs()) == 3, what=lambda: worker.words)
    deployment.settled(first)
    assert jobs()[wrong].state is JobState.REJECTED
    assert "worker.ingest takes one list, `dois`" in jobs()[wrong].note
    conflict = next(job for job in jobs().values() if job.id not in {wrong, first})
    assert conflict.id.startswith(first)
    assert (conflict.state, "holds another list" in conflict.note) == (JobState.REJECTED, True)
    assert deployment.settled(enqueue(["10.1038/srep17338"], settings=deployment.settings)).stored


def test_python_and_a_plain_qdrant_client(deployment: Deployment) -> None:
    deployment.start_worker()
    dois = ["10.1038/nphys1170", "10.1038/nature11543", "10.1103/physrevlett.116.061102"]
    job = deployment.settled(enqueue(dois, settings=deployment.settings))
    assert job.stored == 3
    ours = search(dois[0], k=2, settings=deployment.settings)
    with deployment.qdrant_client() as client:
        theirs = client.query_points("dois", query=point_id(normalize(dois[0])), limit=2).points
        payload = client.retrieve("dois", [point_id(dois[0])], with_payload=True)[0].payload
        aliases = {a.alias_name: a.collection_name for a in client.get_aliases().aliases}
    assert [hit.doi for hit in ours] == [point.payload["doi"] for point in theirs if point.payload]
    assert payload is not None
    assert set(payload) == {
        *("doi", "registrant", "content_hash", "sequence", "job", "accepted_at"),
        *("schema_version", "text_from", "fields", "revision"),
    }
    collection = aliases["dois"]
    assert aliases == {"dois": collection, collection.replace("-", "@"): collection}


def test_a_full_queue_holds_the_producer_until_a_worker_comes(deployment: Deployment) -> None:
    deployment.environment["DOIVEC_INGEST__OUTSTANDING_BATCHES"] = "2"
    deployment.environment["DOIVEC_INGEST__BATCH_RECORDS"] = "5"
    source = deployment.folder / "many.txt"
    source.write_text("\n".join(f"10.1103/physrevlett.{n}" for n in range(50)))
    producer = subprocess.Popen(
        [str(SCRIPTS / WORKER), "queue", str(source)],
        env=deployment.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    with deployment.redis_client() as redis:
        wait_until(lambda: redis.zcard("doivec:outstanding") == 2)
        assert producer.poll() is None
        deployment.start_worker()
        name, _ = producer.communicate(timeout=60)
    assert deployment.settled(name.strip()).stored == 50


def test_a_worker_that_cannot_start_says_why_in_one_line(deployment: Deployment) -> None:
    deployment.environment["DOIVEC_MODEL__NAME"] = "/nowhere"
    worker = deployment.start_worker()
    assert worker.process.wait(60) == 1
    assert "Traceback" not in worker.words
    assert worker.words.strip().splitlines()[-1].startswith("doi-worker: ")


PAPERS = [
    {"doi": "10.1038/nmeth.1", "title": "In time", "year": 2019, "venue": "Nature Methods"},
    {"doi": "10.1038/nmeth.2", "title": "Too late", "year": 2021, "venue": "Nature Methods"},
    {"doi": "10.1038/nmeth.3", "title": "Elsewhere", "year": 2019, "venue": "Nature"},
    {"doi": "10.1038/nmeth.4", "year": 2019, "venue": "Nature Methods"},
]


def test_the_examples_of_the_readme_run_as_they_stand(deployment: Deployment) -> None:
    deployment.environment["DOIVEC_MODEL__TEMPLATES"] = '["{title}", "{doi}"]'
    deployment.start_worker()
    deployment.settled(deployment.queue(EXAMPLES))
    deployment.settled(enqueue(PAPERS, settings=deployment.settings))
    blocks = re.findall(r"```(python|bash)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert [language for language, _ in blocks] == [*["python"] * 4, "bash"]
    told = []
    for language, written in blocks:
        code = written.replace("redis://localhost:6379/0", deployment.redis.url)
        code = code.replace("localhost:6333", f"127.0.0.1:{deployment.qdrant.port}")
        shown = "\nprint(globals().get('hits') or job)" if language == "python" else ""
        command = [sys.executable, "-c"] if language == "python" else ["bash", "-c"]
        told.append(
            subprocess.run(
                [*command, code + shown],
                env=deployment.environ,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    sent, enqueued, found, filtered, curled = told
    assert deployment.settled(sent.strip()).stored == 2
    assert "Hit(doi=" in enqueued
    assert "ScoredPoint(" in found
    assert re.findall(r"'doi': '([^']+)'", filtered) == [PAPERS[0]["doi"]]
    answer = json.loads(curled)
    assert len(answer["result"]["points"]) == 5
    assert answer["result"]["points"][0]["payload"]["doi"] in found


def test_plain_celery_is_a_worker(deployment: Deployment) -> None:
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker"]
    plain = subprocess.Popen(command, env=deployment.environ, stderr=subprocess.DEVNULL)
    try:
        job = deployment.settled(deployment.queue(EXAMPLES))
        assert job.stored == job.accepted
    finally:
        plain.terminate()
        plain.wait(60)


def test_a_worker_that_would_fork_is_refused(deployment: Deployment) -> None:
    application = make_app(lambda: deployment.settings)
    with pytest.raises(ConfigurationError, match="the prefork pool would load a model"):
        bootstrap.start_worker(deployment.settings, application, pool=TaskPool)
    application.close()
