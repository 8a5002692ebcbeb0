"""The troubles of docs/operations/trouble.md, planted: its one command says what the page says."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.job import JobState
from tests.support.deployment import ALIAS, Deployment
from tests.support.disk import small_disk
from tests.support.paths import ROOT
from tests.support.servers import QdrantServer, RedisServer, Server, free_port, wait_until
from tests.support.shell import SCRIPTS, TRAINER
from tests.support.tiny_model import make_tiny_model
from worker import bootstrap
from worker.cli.commands import cli
from worker.ledger.identity import join
from worker.model.registered import Registered
from worker.store.opening import open_store

PAGE = (ROOT / "docs" / "operations" / "trouble.md").read_text()
MANY = [f"10.1000/{n}" for n in range(400)]
pytestmark = pytest.mark.timeout(180)


class Site(Deployment):
    """A deployment, and a person who looks up on the page what is wrong with it."""

    def ask(self, command: str) -> str:
        """What a `doi-worker ...` says."""
        done = CliRunner().invoke(cli, shlex.split(command)[1:], env=self.environment)
        return done.output + (str(done.exception) if done.exception else "")

    def says(self, heading: str, number: int = 0) -> bool:
        """Whether a command below a heading of the page says what stands there."""
        command, *lines = blocks(heading)[number]
        said = self.ask(command.removeprefix("$ ")).splitlines()
        return all(any(re.fullmatch(pattern(line), found) for found in said) for line in lines)

    def ended(self, words: str) -> None:
        """A worker that is started now ends, with these words."""
        worker = self.start_worker()
        assert worker.process.wait(60) == 1
        assert words in worker.words.splitlines()[-1]

    def list(self, *rows: str) -> Path:
        """A list with these rows, or with two DOIs."""
        path = self.folder / f"list-{len(rows)}.txt"
        path.write_text("\n".join(rows or ["10.1000/1", "10.1000/2"]))
        return path

    def found(self) -> None:
        """Make the first collection, as a worker does when it starts."""
        with bootstrap.connect(self.settings) as client:
            opened = open_store(self.settings.qdrant, data_dir=self.settings.data_dir)
            with closing(opened) as store:
                live = Registered(self.settings).live(store, client.ledger)
                join(client.ledger, store, live, alias=ALIAS)

    def drop(self) -> None:
        """Drop the collections, as `prune` must not."""
        with self.qdrant_client() as client:
            for collection in client.get_collections().collections:
                client.delete_collection(collection.name)

    def flush(self) -> None:
        """Let Redis forget all."""
        with self.redis_client() as client:
            client.flushall()


def blocks(heading: str) -> list[list[str]]:
    """The blocks below a heading of the page: a command, and what it says."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```\n(\$ .*?)\n```", section, re.MULTILINE | re.DOTALL)
    assert found, heading
    return [block.splitlines() for block in found]


def pattern(line: str) -> str:
    return ".*".join(map(re.escape, line.split("...")))


@contextmanager
def site_of(folder: Path, redis: RedisServer, qdrant: QdrantServer, **more: str) -> Iterator[Site]:
    made = Site(folder, redis=redis, qdrant=qdrant, model=make_tiny_model(folder / "model"), **more)
    made.flush()  # other tests have other aliases there
    qdrant.empty()
    try:
        yield made
    finally:
        made.close()
        made.flush()
        made.drop()


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, qdrant_server: QdrantServer) -> Iterator[Site]:
    with site_of(tmp_path, redis_server, qdrant_server) as made:
        yield made


@contextmanager
def started(*servers: Server) -> Iterator[None]:
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        yield


def test_no_worker(site: Site) -> None:
    assert not site.says("No worker")
    site.queue(site.list())
    assert site.says("No worker")
    assert "none alive" in site.ask("doi-worker status")


def test_a_server_that_is_away(site: Site) -> None:
    site.environment["DOIVEC_REDIS__URL"] = f"redis://127.0.0.1:{free_port()}/0"
    site.environment["DOIVEC_QDRANT__URL"] = f"http://127.0.0.1:{free_port()}"
    assert site.says("A server is away")


def test_a_wrong_key(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", "--requirepass", "right")
    qdrant = QdrantServer(tmp_path / "qdrant", api_key="right")
    keys = {"DOIVEC_QDRANT__API_KEY": "wrong"}
    with started(redis, qdrant):
        made = Site(tmp_path, redis=redis, qdrant=qdrant, model="none", **keys)
        assert "Redis refused the password or user" in made.ask("doi-worker doctor")
        made.environment["DOIVEC_REDIS__URL"] = redis.url.replace("//", "//:right@")
        assert made.says("A key is wrong")
        made.ended("UNAUTHENTICATED: Invalid API key")


def test_a_full_disk_of_the_data_directory(site: Site) -> None:
    assert not site.says("A disk is full")
    with small_disk(site.folder / "disk", mib=100) as disk:
        site.environment["DOIVEC_DATA_DIR"] = str(disk.path)
        assert site.says("A disk is full")


def test_a_full_disk_of_qdrant(tmp_path: Path, redis_server: RedisServer) -> None:
    with small_disk(tmp_path / "disk", mib=300) as disk:
        qdrant = QdrantServer(disk.path / "qdrant")
        with started(qdrant), site_of(tmp_path, redis_server, qdrant) as made:
            worker = made.start_worker()
            made.settled(made.queue(made.list()))
            disk.fill(leaving_mib=5)
            job = made.queue(made.list(*MANY))
            wait_until(lambda: made.says("A disk is full", 1), timeout_s=60)
            assert "waits: Qdrant: " in made.ask("doi-worker status")
            assert "No space left on device" in worker.words
            disk.path.joinpath("filling").unlink()
            assert made.settled(job).stored + made.job(job).unchanged == len(MANY)


def test_a_model_that_is_missing(site: Site) -> None:
    site.found()
    shutil.rmtree(site.folder / "data" / "models")
    assert site.says("The model is missing")
    assert "is not in the registry of this machine" in site.ask("doi-worker status")
    site.ended("`rsync -a --mkpath ")


def test_a_model_that_fails_its_canaries(site: Site) -> None:
    site.found()
    (manifest,) = (site.folder / "data" / "models").glob("*/doivec.json")
    said = json.loads(manifest.read_text())
    first, second = said["canaries"][:2]
    first["vector"], second["vector"] = second["vector"], first["vector"]
    manifest.write_text(json.dumps(said))
    assert site.says("A model fails its canaries")


def test_two_clocks(site: Site) -> None:
    with ExitStack() as stack:
        for name in ("a", "b"):
            environment = {**site.environ, "DOIVEC_DATA_DIR": str(site.folder / name)}
            words = [str(SCRIPTS / TRAINER), "schedule"]
            beat = stack.enter_context(
                subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
            )
            stack.callback(beat.kill)
        wait_until(lambda: site.says("Two clocks"), timeout_s=60)


def test_a_redis_that_came_back_empty(site: Site) -> None:
    site.found()
    site.flush()
    assert site.says("Redis came back empty")
    assert "set DOIVEC_REDIS__URL" in site.ask(f"doi-worker queue {site.list()}")
    site.ask("doi-worker adopt")
    assert not site.says("Redis came back empty")


def test_a_collection_that_is_gone(site: Site) -> None:
    job, worker = site.queue(site.list()), site.start_worker()
    site.settled(job)
    worker.stop()
    site.drop()
    assert site.says("The collection is gone")
    site.ask("doi-worker adopt")
    worker = site.start_worker()
    wait_until(lambda: "ready." in worker.words, timeout_s=60)
    assert "2 points: 0 missing" in site.ask("doi-worker audit --repair")


def test_a_job_that_is_stuck(
    tmp_path: Path, redis_server: RedisServer, qdrant_server: QdrantServer
) -> None:
    more = {"DOIVEC_METRICS__STALLED_S": "1", "DOIVEC_INGEST__BATCH_RECORDS": "4000"}
    title = "On the origin of species " * 1200
    rows = [json.dumps({"doi": doi, "title": title}) for doi in MANY]
    with site_of(tmp_path, redis_server, qdrant_server, **more) as made:
        worker = made.start_worker()
        wait_until(lambda: "ready" in worker.words, timeout_s=60)
        job = made.queue(made.list(*rows))
        wait_until(lambda: made.says("A job is stuck"), timeout_s=60)
        status = made.ask("doi-worker status")
        assert re.search(rf"\n    {job}:0  [\d,]+ of {len(MANY)} embedded, for ", status)


def test_a_job_that_is_paused(
    tmp_path: Path, redis_server: RedisServer, qdrant_server: QdrantServer
) -> None:
    more = {"DOIVEC_MODEL__TEMPLATES": '["{title}"]', "DOIVEC_INGEST__PAUSE_RECORDS": "100"}
    with site_of(tmp_path, redis_server, qdrant_server, **more) as made:
        made.found()  # sentence-transformers is imported here already
        made.start_worker()
        job = made.queue(made.list(*MANY))
        wait_until(lambda: made.job(job).state is JobState.PAUSED, timeout_s=60)
        assert made.says("A job is paused")
        assert "  paused " in made.ask("doi-worker status")
        assert "missing_metadata: it has no title" in made.ask(f"doi-worker dead list {job}")
