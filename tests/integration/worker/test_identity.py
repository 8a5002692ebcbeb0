"""A ledger and a store know each other; what doesn't belong together is refused."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import doivec
from tests.support.deployment import Deployment, deployed
from tests.support.servers import QdrantServer, RedisServer
from tests.support.shell import SCRIPTS, WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker import bootstrap
from worker.errors import ConfigurationError
from worker.ledger.identity import There, compare, join
from worker.ledger.ledger import Ledger
from worker.settings.servers import QdrantSettings
from worker.store.opening import open_store

DOIS = ["10.1038/nphys1170", "10.1038/nature11543"]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, model=make_tiny_model(tmp_path / "model")) as made:
        yield made


def refused(deployment: Deployment, *words: str, **more: str) -> str:
    """What a command says that ends with 1, having done nothing."""
    environment = {**deployment.environ, **more}
    environment = {name: value for name, value in environment.items() if value}
    done = subprocess.run(
        [str(SCRIPTS / WORKER), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_another_collection_is_refused_by_whoever_queues_or_works(deployment: Deployment) -> None:
    deployment.start_worker()
    deployment.settled(doivec.enqueue(DOIS, settings=deployment.settings))
    papers = {"DOIVEC_COLLECTION": "papers"}
    for words in (["queue", "-"], ["run"], ["delete", DOIS[0]], ["dead", "replay"]):
        assert "serves the collection 'dois', not 'papers'" in refused(deployment, *words, **papers)
    other = deployment.settings.model_copy(update={"collection": "papers"})
    with pytest.raises(ConfigurationError, match="one database serves one collection"):
        doivec.enqueue(DOIS, settings=other)
    assert deployment.stored() == 2


def test_an_edge_store_beside_a_shared_redis_must_be_asked_for(deployment: Deployment) -> None:
    for words in (["run"], ["queue", "-"]):
        assert "DOIVEC_QDRANT__URL is not" in refused(deployment, *words, DOIVEC_QDRANT__URL="")
    edge = {"DOIVEC_QDRANT__URL": "", "DOIVEC_QDRANT__EMBEDDED": "true"}
    shell = Shell(deployment.folder, **{**deployment.environment, **edge})
    del shell.environment["DOIVEC_QDRANT__URL"]
    shell.worker("status")


def test_a_ledger_and_a_store_of_two_deployments_are_refused_until_they_are_taken_on(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.start_worker()
    deployment.settled(doivec.enqueue(DOIS, settings=deployment.settings))
    deployment.close()
    redis, qdrant = RedisServer(tmp_path / "other-redis"), QdrantServer(tmp_path / "other-qdrant")
    redis.start()
    qdrant.start()
    try:
        empty_store = {
            "DOIVEC_QDRANT__URL": qdrant.url,
            "DOIVEC_QDRANT__GRPC_PORT": str(qdrant.grpc_port),
        }
        said = refused(deployment, "run", **empty_store)
        assert "whose collection 'dois' is not in this store" in said
        assert "`doi-worker adopt`" in said
        empty_ledger = {"DOIVEC_REDIS__URL": redis.url}
        for words in (["run"], ["queue", "-"]):
            assert "the ledger is of deployment none" in refused(deployment, *words, **empty_ledger)
        deployment.environment.update(empty_ledger)
        shell = Shell(deployment.folder, **deployment.environment)
        assert "with its collections" in shell.worker("adopt")
        deployment.start_worker()
        again = deployment.settled(doivec.enqueue(DOIS, settings=deployment.settings))
        assert again.unchanged == 2
    finally:
        deployment.close()
        redis.stop()
        qdrant.stop()


def test_a_list_may_be_queued_before_there_is_a_collection(deployment: Deployment) -> None:
    job = doivec.enqueue(DOIS, settings=deployment.settings)
    deployment.start_worker()
    assert deployment.settled(job).stored == 2
    with bootstrap.connect(deployment.settings) as client:
        known = client.ledger.identity()
    assert known
    assert (known.alias, known.has_store) == ("dois", True)


def test_a_list_is_queued_while_the_store_is_away(deployment: Deployment) -> None:
    deployment.start_worker()
    deployment.settled(doivec.enqueue(DOIS, settings=deployment.settings))
    deployment.qdrant.stop()
    job = doivec.enqueue(["10.1038/srep17338"], settings=deployment.settings)
    deployment.qdrant.start()
    assert deployment.settled(job).stored == 1


def test_of_two_stores_that_begin_at_once_one_gets_through(ledger: Ledger, tmp_path: Path) -> None:
    stores = [open_store(QdrantSettings(), data_dir=tmp_path / name) for name in ("a", "b")]
    for store in stores:
        compare(ledger, partial(There.of, store, "dois"), alias="dois")
        store.create("dois-0000000000000000", dimension=4)
        store.publish(["dois"], collection="dois-0000000000000000")
    join(ledger, stores[0], "dois-0000000000000000", alias="dois")
    join(ledger, stores[0], "dois-0000000000000000", alias="dois")
    with pytest.raises(ConfigurationError, match="in another store"):
        join(ledger, stores[1], "dois-0000000000000000", alias="dois")
    for store in stores:
        store.close()


@pytest.mark.parametrize("is_founded", [False, True])
def test_whoever_looks_while_a_worker_makes_the_first_collection_is_let_through(
    ledger: Ledger, tmp_path: Path, *, is_founded: bool
) -> None:
    store = open_store(QdrantSettings(), data_dir=tmp_path)
    if is_founded:
        ledger.found("dois")

    def look(*, joins_first: bool) -> There:
        seen = There.of(store, "dois")
        join(ledger, store, "dois-0000000000000000", alias="dois")
        return There.of(store, "dois") if joins_first else seen

    store.create("dois-0000000000000000", dimension=4)
    store.publish(["dois"], collection="dois-0000000000000000")
    compare(ledger, lambda: look(joins_first=is_founded), alias="dois")
    compare(ledger, lambda: look(joins_first=True), alias="dois")
    store.close()


def test_a_ledger_is_founded_though_the_store_is_away(ledger: Ledger) -> None:
    compare(ledger, lambda: None, alias="papers")
    with pytest.raises(ConfigurationError, match="serves the collection 'papers', not 'dois'"):
        compare(ledger, lambda: None, alias="dois")
