"""What only a Qdrant server can show."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from schemas.document import Document
from schemas.doi import point_id
from schemas.search import Filter, Years
from tests.support.servers import QdrantServer, RedisServer, free_port, wait_until
from tests.support.vectors import DIMENSION, DOIS, NOW, bare, vectors, write
from worker.errors import ConfigurationError, StoreUnavailable, SwitchRefused
from worker.settings.servers import QdrantSettings
from worker.store.messages import messages
from worker.store.protocol import Query
from worker.store.server import ServerStore

NUMPY = "10.1038/s41586-020-2649-2"
THREADS = 8
GRPC_CUSTOM_LIMIT = 4 * 1024 * 1024


def settings(server: QdrantServer, **changes: Any) -> QdrantSettings:
    return QdrantSettings(url=server.url, grpc_port=server.grpc_port, **changes)


@pytest.fixture
def name() -> str:
    return f"dois-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def store(qdrant_server: QdrantServer) -> Iterator[ServerStore]:
    made = ServerStore(settings(qdrant_server))
    yield made
    made.close()


@pytest.fixture
def plain(qdrant_server: QdrantServer) -> Iterator[QdrantClient]:
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def own_server(tmp_path: Path, qdrant_server: QdrantServer) -> Iterator[QdrantServer]:
    """A server to be killed, or with an API key; `qdrant_server` skips where there is none."""
    server = QdrantServer(tmp_path / "qdrant", api_key="right")
    server.start()
    yield server
    server.stop()


@contextmanager
def web_server(body: bytes) -> Iterator[str]:
    """A server that answers everything with these bytes."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def put(store: ServerStore, name: str, sequence: int = NOW) -> None:
    there = store.read(name, [point_id(doi) for doi in DOIS]).values()
    read = {stored.revision for stored in there}
    store.upsert(name, write(bare(), sequence=sequence), revisions=read)


def test_payload_indexes_are_there_before_any_client_can_write(
    qdrant_server: QdrantServer, plain: QdrantClient, name: str
) -> None:
    together = threading.Barrier(THREADS)

    def create(_: int) -> set[str]:
        own = ServerStore(settings(qdrant_server))
        together.wait()
        own.create(name, dimension=DIMENSION)
        own.close()
        return set(plain.get_collection(name).payload_schema)

    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(create, range(THREADS)))
    assert seen == [{"registrant", "year", "venue", "text_from"}] * THREADS


def test_a_plain_client_queries_by_id_through_the_alias(
    store: ServerStore, plain: QdrantClient, name: str
) -> None:
    store.create(name, dimension=DIMENSION)
    store.publish([f"a-{name}"], collection=name)
    put(store, name)
    answer = plain.query_points(f"a-{name}", query=point_id(NUMPY), limit=3).points
    own = Query(store.vectors(name, [point_id(NUMPY)])[point_id(NUMPY)], without=point_id(NUMPY))
    (ours,) = store.query(name, [own], k=3)
    assert [point.payload["doi"] for point in answer if point.payload] == [h.doi for h in ours]


@pytest.mark.parametrize("done", range(4), ids=["none", "guard renamed", "moved", "all"])
def test_a_switch_that_a_crash_cut_short_is_completed(
    store: ServerStore, plain: QdrantClient, name: str, done: int
) -> None:
    alias, first, second = name[:13], f"{name[:13]}-{'a' * 16}", f"{name[:13]}-{'b' * 16}"
    for collection in (first, second):
        store.create(collection, dimension=DIMENSION)
    old, new = f"{alias}@{'a' * 16}", f"{alias}@{'b' * 16}"
    store.publish([old, alias], collection=first)
    rename = models.RenameAlias(old_alias_name=old, new_alias_name=new)
    actions = [
        models.RenameAliasOperation(rename_alias=rename),
        *(
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(alias_name=one, collection_name=second)
            )
            for one in (alias, new)
        ),
    ]
    if done:
        plain.update_collection_aliases(actions[:done])
    store.switch(alias, expected=first, collection=second)
    there = {a.alias_name: a.collection_name for a in plain.get_aliases().aliases}
    ours = {one: there[one] for one in there if one.startswith(alias)}
    assert ours == {alias: second, new: second}


def test_of_two_switches_after_a_crash_one_gets_through(
    store: ServerStore, plain: QdrantClient, name: str
) -> None:
    first, *targets = (f"{name}-{digit * 16}" for digit in "abc")
    for collection in (first, *targets):
        store.create(collection, dimension=DIMENSION)
    together = threading.Barrier(2)

    def attempt(collection: str) -> str | None:
        together.wait()
        try:
            store.switch(name, expected=first, collection=collection)
        except SwitchRefused:
            return None
        return collection

    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            renamed = f"{name}@{'b' * 16}"
            store.publish([renamed, name], collection=first)
            won = [n for n in pool.map(attempt, targets) if n]
            assert [store.live(name)] == won
            store.switch(name, expected=first, collection=won[0])
            there = {a.alias_name: a.collection_name for a in plain.get_aliases().aliases}
            guard = f"{name}@{won[0][-16:]}"
            assert {n: there[n] for n in there if n.startswith(f"{name}@")} == {guard: won[0]}
            for alias in (name, guard):
                gone = models.DeleteAlias(alias_name=alias)
                plain.update_collection_aliases([models.DeleteAliasOperation(delete_alias=gone)])


def test_finish_waits_until_the_server_has_indexed(
    qdrant_server: QdrantServer, plain: QdrantClient, name: str
) -> None:
    small = {"optimizers_config": {"indexing_threshold": 100}}  # in kB
    store = ServerStore(settings(qdrant_server, collection=small))
    store.create(name, dimension=DIMENSION)
    for start in range(0, 4000, 1000):
        dois = [f"10.1000/{n}" for n in range(start, start + 1000)]
        store.upsert(name, write(bare(dois)), revisions=())
    store.finish(name)
    there = plain.get_collection(name)
    assert there.status is models.CollectionStatus.GREEN
    assert there.indexed_vectors_count
    store.close()


def test_the_settings_of_a_collection_pass_through(
    qdrant_server: QdrantServer, plain: QdrantClient, name: str
) -> None:
    mapping = {
        "shard_number": 2,
        "write_consistency_factor": 1,
        "on_disk_payload": False,
        "vectors": {"on_disk": True, "datatype": "float16"},
        "hnsw_config": {"m": 24},
        "optimizers_config": {"indexing_threshold": 777},
        "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
    }
    store = ServerStore(settings(qdrant_server, collection=mapping))
    store.create(name, dimension=DIMENSION)
    store.close()
    config = plain.get_collection(name).config
    vectors = config.params.vectors
    assert isinstance(vectors, models.VectorParams)
    assert (vectors.size, vectors.distance) == (DIMENSION, models.Distance.COSINE)
    assert (vectors.on_disk, vectors.datatype) == (True, models.Datatype.FLOAT16)
    assert (config.params.shard_number, config.params.on_disk_payload) == (2, False)
    assert (config.hnsw_config.m, config.optimizer_config.indexing_threshold) == (24, 777)
    assert isinstance(config.quantization_config, models.ScalarQuantization)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"shards": 2}, "DOIVEC_QDRANT__COLLECTION: shards: Extra inputs are not permitted"),
        ({"hnsw_config": {"mm": 2}}, "DOIVEC_QDRANT__COLLECTION: hnsw_config.mm: Extra inputs"),
        ({"vectors": {"on_disc": True}}, "DOIVEC_QDRANT__COLLECTION: on_disc: Extra inputs"),
        ({"vectors": {"size": 9}}, "vectors.size: the model decides that"),
        ({"vectors": True}, "vectors: a mapping is expected"),
        ({"shard_number": "many"}, "DOIVEC_QDRANT__COLLECTION: shard_number: "),
        ({"sparse_vectors": {"words": {}}}, "sparse_vectors: doivec has none"),
    ],
)
def test_unknown_settings_are_refused_in_one_line(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerStore(QdrantSettings(url="http://127.0.0.1:6333", collection=mapping))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_that_the_server_refuses(qdrant_server: QdrantServer, name: str) -> None:
    store = ServerStore(settings(qdrant_server, collection={"shard_number": 0}))
    with pytest.raises(ConfigurationError, match=r"DOIVEC_QDRANT__COLLECTION.*shard_number"):
        store.create(name, dimension=DIMENSION)
    store.close()


def refusal(url: str, grpc_port: int) -> str:
    store = ServerStore(QdrantSettings(url=url, grpc_port=grpc_port, timeout_s=10))
    with pytest.raises(ConfigurationError) as caught:
        store.live("dois")
    store.close()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_port_that_is_not_qdrants_is_told_at_the_first_call(
    qdrant_server: QdrantServer, redis_server: RedisServer
) -> None:
    http, grpc = qdrant_server.port, qdrant_server.grpc_port
    words = f"DOIVEC_QDRANT__URL: that is not Qdrant's HTTP port: http://127.0.0.1:{grpc}"
    assert refusal(f"http://127.0.0.1:{grpc}", grpc).startswith(words)
    for port in (http, redis_server.port):
        assert refusal(qdrant_server.url, port).startswith(f"DOIVEC_QDRANT__GRPC_PORT {port}: ")
    assert "DOIVEC_QDRANT__URL" in refusal(f"https://127.0.0.1:{http}", grpc)
    assert "DOIVEC_QDRANT__URL" in refusal(f"{qdrant_server.url}/dashboard", grpc)


def test_a_port_that_hangs_up_may_be_qdrants_later(
    qdrant_server: QdrantServer, redis_server: RedisServer
) -> None:
    """Redis does so, but so does Docker's proxy before Qdrant listens behind it."""
    url = f"http://127.0.0.1:{redis_server.port}"
    store = ServerStore(QdrantSettings(url=url, grpc_port=qdrant_server.grpc_port, timeout_s=10))
    with pytest.raises(StoreUnavailable, match="where that lasts, DOIVEC_QDRANT__URL is not"):
        store.live("dois")
    store.close()


def test_another_web_server_is_no_qdrant(qdrant_server: QdrantServer) -> None:
    with web_server(b'{"title": "elasticsearch", "version": "8.1.0"}') as url:
        assert "is no Qdrant: elasticsearch" in refusal(url, qdrant_server.grpc_port)
    with web_server(b"<html>It works!</html>") as url:
        assert "not Qdrant's HTTP port" in refusal(url, qdrant_server.grpc_port)


@pytest.mark.parametrize("missing", ["http", "grpc"])
def test_a_port_where_nothing_answers_may_come_up_yet(
    qdrant_server: QdrantServer, missing: str
) -> None:
    nobody = free_port()
    store = ServerStore(
        QdrantSettings(
            url=f"http://127.0.0.1:{nobody}" if missing == "http" else qdrant_server.url,
            grpc_port=nobody if missing == "grpc" else qdrant_server.grpc_port,
            timeout_s=10,
        )
    )
    with pytest.raises(StoreUnavailable, match=str(nobody)):
        store.live("dois")
    store.close()


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_wrong_api_key_is_a_matter_of_settings(own_server: QdrantServer, key: str | None) -> None:
    store = ServerStore(settings(own_server, api_key=key))
    with pytest.raises(ConfigurationError, match="API key"):
        store.live("dois")
    store.close()


def test_a_server_that_was_killed_has_all_that_was_acknowledged(
    own_server: QdrantServer, name: str
) -> None:
    store = ServerStore(settings(own_server, api_key="right", timeout_s=5))
    store.create(name, dimension=DIMENSION)
    store.publish(["dois"], collection=name)
    put(store, name)
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        put(store, name, NOW + 1)
    own_server.start()
    wait_until(lambda: answers(store))
    assert store.live("dois") == name
    assert set(store.ids(name)) == {point_id(doi) for doi in DOIS}
    put(store, name, NOW + 2)
    assert {s.sequence for s in store.read(name, list(store.ids(name))).values()} == {NOW + 2}
    store.close()


def answers(store: ServerStore) -> bool:
    try:
        store.live("dois")
    except StoreUnavailable:
        return False
    return True


def test_a_server_that_asks_for_a_pause_gets_it(qdrant_server: QdrantServer, name: str) -> None:
    slow = {"strict_mode_config": {"enabled": True, "write_rate_limit": 2}}
    store = ServerStore(settings(qdrant_server, collection=slow))
    with pytest.raises(StoreUnavailable) as caught:
        store.create(name, dimension=DIMENSION)  # three indexes are three writes
    assert caught.value.retry_after_s
    assert caught.value.retry_after_s > 1
    store.close()


def test_a_server_in_strict_mode_takes_every_write(qdrant_server: QdrantServer, name: str) -> None:
    strict = {
        "enabled": True,
        "unindexed_filtering_update": False,
        "unindexed_filtering_retrieve": False,
    }
    mapping = {"strict_mode_config": strict}
    store = ServerStore(settings(qdrant_server, collection=mapping))
    store.create(name, dimension=DIMENSION)
    ids = [point_id(doi) for doi in DOIS]
    put(store, name)
    put(store, name, NOW + 1)
    assert {s.sequence for s in store.read(name, ids).values()} == {NOW + 1}
    for of_text in (True, False):
        only = Filter("10.1038", "Nature", Years(2015, None), of_text=of_text)
        assert store.query(name, [Query(vectors([NUMPY])[0], only)], k=1) == [[]]
    store.delete(name, ids, below=NOW + 3)
    assert store.count(name) == 0
    store.close()


def test_a_limit_on_queries_makes_the_pages_of_a_scan_smaller(
    qdrant_server: QdrantServer, name: str
) -> None:
    strict = {"strict_mode_config": {"enabled": True, "max_query_limit": 5}}
    store = ServerStore(settings(qdrant_server, collection=strict))
    store.create(name, dimension=DIMENSION)
    put(store, name)
    pages = [len(page) for page in store.scan(name, ())]
    assert (sum(pages), max(pages)) == (len(DOIS), 5)
    store.close()


def test_no_request_reaches_the_limit_that_is_custom_for_grpc() -> None:
    big = [Document(doi=doi, abstract="a" * (1024 * 1024 - 200)) for doi in DOIS]
    requests = list(messages(write(big)))
    assert [point.id.uuid for r in requests for point in r.points] == [
        point_id(doi) for doi in DOIS
    ]
    assert max(request.ByteSize() for request in requests) < GRPC_CUSTOM_LIMIT
    assert len(requests) == len(DOIS) // 3
