"""Both links to Redis, the ledger's and Celery's: one database, one trust, keys of their own."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import httpx
import pytest
import redis
from celery import Celery

from tests.support.deployment import Deployment
from tests.support.paths import EXAMPLES
from tests.support.servers import QdrantServer, RedisServer
from tests.support.tiny_model import make_tiny_model
from tests.support.tls import Authority, TlsFront, tls_front
from trainer.tasks import make_app as make_trainers_app
from worker.app import INGEST, INTAKE, make_app, restore_unacknowledged, sender
from worker.errors import ConfigurationError, LedgerUnavailable
from worker.ledger.ledger import Ledger
from worker.settings.environment import Settings
from worker.settings.servers import RedisSettings

PASSWORD, IN_URL = "s3cr/t#p@ss%?;+", "s3cr%2Ft%23p%40ss%25%3F;+"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("links")


@pytest.fixture(scope="module")
def server(folder: Path, redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis with a password, on a port and on a socket; `redis_server` skips without one."""
    more = ("--requirepass", PASSWORD, "--unixsocket", str(folder / "redis.sock"))
    made = RedisServer(folder / "redis", *more)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def ours(folder: Path) -> Authority:
    return Authority(folder, "ours")


@pytest.fixture
def front(server: RedisServer, ours: Authority) -> Iterator[TlsFront]:
    with tls_front(ours, behind=server.port) as made:
        yield made


def tls_url(front: TlsFront, host: str = "127.0.0.1") -> str:
    return f"rediss://:{IN_URL}@{host}:{front.port}/0"


def by_ledger(settings: RedisSettings) -> None:
    ledger = Ledger.connect(settings, options=Settings().ingest)
    try:
        ledger.note("link", "there")
    finally:
        ledger.close()


def by_celery(settings: RedisSettings) -> None:
    with made(Settings(redis=settings)) as application:
        sender(application)("job", 0)


LINKS = pytest.mark.parametrize("link", [by_ledger, by_celery])
Link = Callable[[RedisSettings], None]


class SecureQdrant(QdrantServer):
    """A Qdrant server that speaks TLS on both of its ports."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        tls = {
            "QDRANT__SERVICE__ENABLE_TLS": "true",
            "QDRANT__TLS__CERT": str(authority.certificate),
            "QDRANT__TLS__KEY": str(authority.key),
        }
        super().__init__(folder, limits=tls)
        self.url = f"https://127.0.0.1:{self.port}"
        self._trust = ssl.create_default_context(cafile=authority.file)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", verify=self._trust, trust_env=False).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def made(settings: Settings, make: Callable[..., Celery] = make_app) -> Iterator[Celery]:
    application = make(lambda: settings)
    yield application
    application.close()


@contextmanager
def database(server: RedisServer, number: int = 0) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, db=number, password=PASSWORD) as client:
        yield client
        client.flushall()


@pytest.mark.parametrize("form", ["tcp path", "tcp query", "socket"])
def test_both_links_are_to_the_database_that_the_url_names(
    server: RedisServer, folder: Path, form: str
) -> None:
    url = {
        "tcp path": f"redis://:{IN_URL}@127.0.0.1:{server.port}/3",
        "tcp query": f"redis://:{IN_URL}@127.0.0.1:{server.port}?db=3",
        "socket": f"unix://:{IN_URL}@{folder}/redis.sock?db=3",
    }[form]
    with database(server, 3) as third, database(server, 0) as first:
        by_ledger(RedisSettings(url=url))
        by_celery(RedisSettings(url=url))
        assert third.get("doivec:note:link") == b"there"
        assert third.llen(INGEST) == 1
        assert first.dbsize() == 0


@LINKS
def test_a_server_that_the_file_vouches_for_is_trusted(
    server: RedisServer, ours: Authority, front: TlsFront, link: Link
) -> None:
    with database(server) as first:
        link(RedisSettings(url=tls_url(front), ca_file=ours.file))
        assert first.dbsize() > 0
    assert PASSWORD.encode() in front.heard


@LINKS
@pytest.mark.parametrize("why", ["unknown authority", "another name"])
def test_an_impostor_hears_no_password(
    folder: Path, server: RedisServer, ours: Authority, link: Link, why: str
) -> None:
    theirs = Authority(folder, "theirs") if why == "unknown authority" else ours
    with tls_front(theirs, behind=server.port) as impostor:
        host = "127.0.0.1" if why == "unknown authority" else "localhost"
        with pytest.raises(ConfigurationError, match="DOIVEC_REDIS__CA_FILE") as caught:
            link(RedisSettings(url=tls_url(impostor, host), ca_file=ours.file))
        assert "\n" not in str(caught.value)
        assert impostor.heard == b""


@LINKS
def test_without_a_file_only_this_machines_authorities_vouch(front: TlsFront, link: Link) -> None:
    with pytest.raises(ConfigurationError):
        link(RedisSettings(url=tls_url(front)))
    assert front.heard == b""


@LINKS
def test_verifying_is_turned_off_by_name(server: RedisServer, front: TlsFront, link: Link) -> None:
    with database(server) as first:
        link(RedisSettings(url=tls_url(front, "localhost"), verify_certificate=False))
        assert first.dbsize() > 0


def test_a_worker_does_its_work_over_tls(
    tmp_path: Path, server: RedisServer, ours: Authority, front: TlsFront
) -> None:
    qdrant = SecureQdrant(tmp_path / "qdrant", ours)
    qdrant.start()
    deployment = Deployment(
        tmp_path,
        redis=server,
        qdrant=qdrant,
        model=make_tiny_model(tmp_path / "model"),
        DOIVEC_REDIS__CA_FILE=str(ours.file),
        DOIVEC_QDRANT__CA_FILE=str(ours.file),
    )
    deployment.environment["DOIVEC_REDIS__URL"] = tls_url(front)
    worker = deployment.start_worker()
    job = deployment.settled(deployment.queue(EXAMPLES))
    assert job.stored == job.accepted > 0
    assert "insecure" not in worker.words
    assert worker.stop() == 0
    del deployment.environment["DOIVEC_QDRANT__CA_FILE"]
    stranger = deployment.start_worker()
    assert stranger.process.wait(60) == 1
    assert "DOIVEC_QDRANT__CA_FILE says who may vouch for it" in stranger.words.splitlines()[-1]
    qdrant.stop()


@contextmanager
def taken(application: Celery, queue: str) -> Iterator[None]:
    """A message taken from a queue and, an hour later, not acknowledged: its worker is busy."""
    with application.connection_for_read() as connection:
        channel = connection.default_channel
        message = connection.SimpleQueue(queue).get(timeout=10)
        channel.client.zadd(channel.unacked_index_key, {message.delivery_tag: 1.0})
        yield


@pytest.mark.parametrize("make", [make_app, make_trainers_app])
def test_unacknowledged_messages_of_ours_come_back_and_a_neighbours_stay_where_they_are(
    server: RedisServer, make: Callable[..., Celery]
) -> None:
    url = f"redis://:{IN_URL}@127.0.0.1:{server.port}/0"
    neighbour = Celery(broker=url.replace(";", "%3B"), set_as_current=False)
    neighbour.send_task("their.task", queue="theirs")
    neighbour.send_task("worker.ingest", kwargs={"dois": ["10.1038/nphys1170"]})
    settings = Settings(redis={"url": url})
    with (
        database(server) as client,
        made(settings, make) as ours,
        made(settings) as sweeping,
        taken(neighbour, "theirs"),
        taken(ours, INTAKE),
    ):
        assert (client.llen("theirs"), client.llen(INTAKE)) == (0, 0)
        restore_unacknowledged(sweeping)
        assert (client.llen("theirs"), client.llen(INTAKE)) == (0, 1)
        assert client.hlen("unacked") == 1
    neighbour.close()


def test_a_redis_that_comes_back_in_the_middle_of_a_message_is_away_and_no_more(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    comes_back = Timer(0.3, server.start)
    try:
        with made(Settings(redis=RedisSettings(url=server.url))) as application:
            with application.producer_or_acquire() as producer:
                assert producer.channel  # connected, and no queue declared yet
            server.kill()
            comes_back.start()
            try:
                sender(application)("job", 0)
            except LedgerUnavailable:
                comes_back.join()
                sender(application)("job", 0)
        with redis.Redis.from_url(server.url) as client:
            assert client.llen(INGEST) == 1
    finally:
        if comes_back.ident:
            comes_back.join()
        server.stop()
