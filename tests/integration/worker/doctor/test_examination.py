"""Troubles planted in real servers, a real ledger and a real registry: each is found and named."""

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from qdrant_client import QdrantClient
from qdrant_client import models as client_models

from schemas.document import Document
from schemas.model import guard_alias
from schemas.worker import WorkerState
from tests.support.servers import QdrantServer, RedisServer, free_port
from tests.support.tiny_model import make_tiny_model
from worker.doctor import ledger as of_ledger
from worker.doctor import models, work
from worker.doctor import store as of_store
from worker.doctor.examination import examine
from worker.doctor.findings import Finding, Level
from worker.ledger.identity import join
from worker.ledger.ledger import Ledger
from worker.model.registered import Registered
from worker.settings.environment import Settings
from worker.settings.servers import RedisSettings
from worker.store.names import version_in
from worker.store.protocol import VectorStore

Troubles = list[tuple[str, str]]


class Site:
    """A deployment with a collection and its model, all of it as it must be."""

    def __init__(self, settings: Settings, ledger: Ledger, store: VectorStore) -> None:
        self.settings, self.ledger, self.store = settings, ledger, store
        self.alias = settings.collection
        self.live = Registered(settings).live(store, ledger)
        join(ledger, store, self.live, alias=self.alias)

    @property
    def version(self) -> Path:
        (path,) = (self.settings.data_dir / "models").glob(f"{version_in(self.alias, self.live)}*")
        return path

    def of_store(self) -> Troubles:
        found = list(of_store.look(self.store, self.settings.qdrant, alias=self.alias))
        return troubles(
            [*found, *of_store.of_deployment(self.ledger, self.store, alias=self.alias)]
        )

    def of_work(self) -> Troubles:
        return troubles(work.look(self.ledger, self.settings))


def troubles(findings: Iterable[Finding]) -> Troubles:
    """What is not ok; each says what to do."""
    found = [f for f in findings if f.level is not Level.OK]
    assert all(f.todo for f in found)
    return [(f.level, f"{f.check}: {f.words}") for f in found]


@pytest.fixture
def settings(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Settings:
    qdrant = {}
    if "edge" not in request.node.name:
        server: QdrantServer = request.getfixturevalue("qdrant_server")
        qdrant = {"url": server.url, "grpc_port": server.grpc_port}
    return Settings(
        collection=f"a{uuid.uuid4().hex[:8]}",
        data_dir=tmp_path,
        redis={"url": redis_server.url},
        qdrant={**qdrant, "embedded": True},
        model={"name": str(make_tiny_model(tmp_path / "model"))},
        embed={"threads": 1},
    )


@pytest.fixture
def site(settings: Settings, ledger: Ledger, store: VectorStore) -> Site:
    return Site(settings, ledger, store)


server_only = pytest.mark.parametrize("store", ["server"], indirect=True)


@server_only
def test_all_is_well(site: Site) -> None:
    found = list(examine(site.settings))
    assert troubles(found) == []
    checks = {"settings", "disk", "packages", "Redis", "Qdrant", "deployment", "workers", "model"}
    assert checks <= {f.check for f in found}


@server_only
def test_who_is_away_is_a_finding_and_the_rest_goes_on(site: Site) -> None:
    nowhere = site.settings.model_copy(
        update={
            "redis": RedisSettings(url=f"redis://:geheim@127.0.0.1:{free_port()}/0"),
            "qdrant": site.settings.qdrant.model_copy(
                update={"url": f"http://127.0.0.1:{free_port()}"}
            ),
        }
    )
    found = list(examine(nowhere))
    (first, second) = troubles(found)
    assert first[0] == second[0] == "error"
    assert first[1].startswith("Redis: Redis: ")
    assert second[1].startswith("Qdrant: ")
    assert "geheim" not in str(found)
    assert {"disk", "packages"} <= {f.check for f in found}


def test_a_key_that_is_wrong(tmp_path: Path, ledger: Ledger, settings: Settings) -> None:
    server = QdrantServer(tmp_path / "qdrant", api_key="right")
    server.start()
    try:
        at = {"url": server.url, "grpc_port": server.grpc_port, "api_key": "wrong"}
        qdrant = type(settings.qdrant)(**at)
        (found,) = troubles(examine(settings.model_copy(update={"qdrant": qdrant})))
    finally:
        server.stop()
    assert found[0] == "error"
    assert "key" in found[1].lower()


@server_only
def test_a_redis_that_came_back_empty(site: Site, redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    ((level, words),) = site.of_store()
    assert level == "error"
    assert "the ledger is empty" in words
    assert site.ledger.identity() is None, "to look changes nothing"


@server_only
def test_a_collection_that_was_dropped(site: Site, qdrant_server: QdrantServer) -> None:
    client = QdrantClient(url=qdrant_server.url, trust_env=False, check_compatibility=False)
    client.delete_collection(site.live)
    client.close()
    ((level, words),) = troubles(examine(site.settings))
    assert level == "error"
    assert f"whose collection {site.alias!r} is not in this store" in words


@server_only
def test_aliases_that_were_moved_by_hand(site: Site, qdrant_server: QdrantServer) -> None:
    client = QdrantClient(url=qdrant_server.url, trust_env=False, check_compatibility=False)

    def remove(alias: str) -> None:
        gone = client_models.DeleteAlias(alias_name=alias)
        client.update_collection_aliases([client_models.DeleteAliasOperation(delete_alias=gone)])

    remove(guard_alias(site.alias, version_in(site.alias, site.live)))
    ((level, words),) = site.of_store()
    assert (level, "is missing" in words) == ("warning", True)
    remove(site.alias)
    found = troubles(of_store.of_no_alias(site.store, alias=site.alias))
    client.close()
    assert found[0][0] == "error"
    assert site.live in found[0][1]


@server_only
def test_a_strict_mode_without_its_indexes(site: Site, qdrant_server: QdrantServer) -> None:
    client = QdrantClient(url=qdrant_server.url, trust_env=False, check_compatibility=False)
    strict = {"enabled": True, "max_query_limit": 50}
    client.update_collection(site.live, strict_mode_config=strict)
    client.close()
    found = site.of_store()
    assert [words for level, words in found if level == "error"] == [
        f"Qdrant: {site.live}: it has no index of {name}" for name in ("revision", "sequence")
    ]
    assert "max_query_limit 50" in found[-1][1]


def test_a_model_that_is_missing_or_damaged(site: Site) -> None:
    def look() -> tuple[str, str]:
        ((level, words),) = troubles(
            f for f in examine(site.settings) if f.check in {models.CHECK, models.DEVICE}
        )
        return level, words

    site.store.close()  # Edge's is this process's alone
    manifest = json.loads((site.version / "doivec.json").read_text())
    first, second = manifest["canaries"][:2]
    first["vector"], second["vector"] = second["vector"], first["vector"]
    (site.version / "doivec.json").write_text(json.dumps(manifest))
    level, words = look()
    assert level == "error"
    assert "does not give the vectors recorded with it" in words
    (site.version / "config.json").write_text("{}")
    assert "config.json" in look()[1]
    shutil.rmtree(site.version)
    assert "this brings it from a machine that has it: `rsync -a" in look()[1]


@server_only
def test_settings_without_effect(site: Site) -> None:
    model = site.settings.model.model_copy(update={"templates": ("{venue}",)})
    asked = type(site.settings.model)(**model.model_dump())
    ((level, words),) = troubles(
        models.look(site.settings.model_copy(update={"model": asked}), site.live)
    )
    assert level == "warning"
    assert "without effect" in words


@server_only
def test_work_that_nobody_does(site: Site) -> None:
    site.ledger.open("job", identity=None, source="a.txt", batch_records=10)
    site.ledger.accept("job", 0, [Document(doi="10.1000/1")])
    ((level, words),) = site.of_work()
    assert level == "error"
    assert words == "workers: 1 batches wait, and no worker is alive"


@server_only
def test_workers_that_are_not_well(site: Site) -> None:
    said = {"host": "h", "pid": 1, "phase": "working"}
    site.ledger.present(WorkerState(name="h:1", trouble="nothing has settled for 700 s", **said))
    site.ledger.present(WorkerState(name="h:2", waiting="Qdrant: no space left on device", **said))
    assert site.of_work() == [
        ("error", "workers: h:1 is unhealthy: nothing has settled for 700 s"),
        ("warning", "workers: h:2 waits: Qdrant: no space left on device"),
    ]


@server_only
def test_a_job_that_is_paused_and_two_beats(site: Site) -> None:
    site.ledger.open("job", identity=None, source="a.txt", batch_records=10)
    site.ledger.accept("job", 0, [Document(doi="10.1000/1")])
    for _ in range(10):
        claim = site.ledger.claim("job", 0)
        assert claim
        site.ledger.release(claim, reason="ModelError: it is nowhere")
    site.ledger.beat("a:1")
    assert [words for _, words in site.of_work()] == [
        "jobs: job job is paused: ModelError: it is nowhere"
    ]
    site.ledger.beat("b:1")
    assert site.of_work()[-1] == ("warning", "schedule: 2 clocks of the schedule run: a:1, b:1")
    site.ledger.end_beat("a:1")
    assert len(site.of_work()) == 1


def test_a_redis_that_may_forget(tmp_path: Path) -> None:
    options = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
    with serving(tmp_path / "a", *options) as (ledger, ours, _):
        assert look(ledger, ours) == {"it keeps no append-only file", "maxmemory-policy is allkeys"}


def test_a_redis_with_neighbours(tmp_path: Path) -> None:
    with serving(tmp_path / "a", "--appendfsync", "no") as (ledger, ours, server):
        with redis.Redis.from_url(server.url) as client, redis.Redis(port=server.port, db=3) as d3:
            client.set("session:7", 1)
            client.lpush("ingest\x06\x163", "a queue with a priority")
            client.sadd("_kombu.binding.ingest", "x")
            d3.mset({"a": 1, "b": 2})
        assert look(ledger, ours) == {
            "appendfsync is no",
            "its database has keys that are not doivec's",
            "other databases of it have 2 keys",
        }


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[Ledger, Settings, RedisServer]]:
    server = RedisServer(folder, *options)
    server.start()
    settings = Settings(redis={"url": server.url})
    ledger = Ledger.connect(settings.redis, options=settings.ingest)
    try:
        yield ledger, settings, server
    finally:
        ledger.close()
        server.stop()


def look(ledger: Ledger, settings: Settings) -> set[str]:
    found = troubles(of_ledger.look(ledger, settings.redis, is_private=False))
    return {
        words.removeprefix("Redis: ").partition(":")[0].partition("-lru")[0] for _, words in found
    }


def test_clocks_and_celery_workers() -> None:
    assert troubles(of_ledger.of_clocks(0.5)) == []
    assert "10 s behind that of Redis" in troubles(of_ledger.of_clocks(-10))[0][1]
    threads = {"implementation": "celery.concurrency.thread:TaskPool"}
    said = {
        "good": {"queues": ["ingest"], "pool": threads},
        "bad": {"queues": ["celery"], "pool": {"implementation": "celery.concurrency.prefork:X"}},
        "theirs": {"queues": ["mail"], "pool": {"implementation": "celery.concurrency.prefork:X"}},
        "old": {"queues": ["ingest"], "broker": {"transport_options": {"visibility_timeout": 5}}},
    }
    assert [words for _, words in troubles(work.of_celery(said))] == [
        "Celery: bad takes doivec's messages with the prefork pool",
        "Celery: old gives messages back after 5 s, not after 30 s",
    ]
