"""From the embedded default to servers, with the order, the deletions and the jobs."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.doi import point_id
from schemas.job import JobState, Rejection
from tests.support.deployment import Deployment, deployed
from tests.support.servers import RedisServer
from tests.support.shell import Shell
from tests.support.tiny_model import make_tiny_model
from tests.support.vectors import DIMENSION, bare, write
from worker import bootstrap
from worker.errors import ConfigurationError
from worker.ledger.identity import join
from worker.ledger.ledger import Ledger
from worker.ledger.state import Identity
from worker.moving import Move
from worker.settings.environment import Settings
from worker.settings.ingest import IngestSettings
from worker.settings.servers import QdrantSettings, RedisSettings
from worker.store.opening import open_store

DOIS = [f"10.1000/x{n}" for n in range(600)]
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, model=make_tiny_model(tmp_path / "model")) as made:
        yield made


def test_all_comes_along_and_work_goes_on(deployment: Deployment) -> None:
    folder, settings = deployment.folder, deployment.settings
    own = {
        n: v for n, v in deployment.environment.items() if "REDIS" not in n and "QDRANT" not in n
    }
    before, after = Shell(folder, **own), Shell(folder, **deployment.environment)
    with pytest.raises(ConfigurationError, match="set DOIVEC_REDIS__URL"):
        move(Settings(data_dir=settings.data_dir))
    with pytest.raises(ConfigurationError, match="nothing to move"):
        move(settings)
    (folder / "list.txt").write_text("\n".join(DOIS))
    before.worker("ingest", "list.txt")
    before.worker("delete", DOIS[0], DOIS[9])
    (folder / "later.csv").write_text(f"doi,title\n{DOIS[1]},On one\n{DOIS[0]},Back again\n")
    before.worker("queue", "later.csv")  # on its way when it moves
    assert json.loads(after.worker("migrate", "--json"))["points"] == 598
    with pytest.raises(ConfigurationError, match="has been moved to these servers already"):
        move(settings)
    with bootstrap.connect(settings) as client:
        jobs = {job.state: job for job in client.ledger.jobs()}
        assert (jobs[JobState.SETTLED].accepted, jobs[JobState.SEALED].accepted) == (600, 2)
        assert client.ledger.buried([point_id(DOIS[9])])
        deployment.start_worker()
        assert deployment.settled(jobs[JobState.SEALED].id).stored == 2
        assert deployment.ids() == {point_id(doi) for doi in DOIS} - {point_id(DOIS[9])}
        with bootstrap.auditing(client) as audit:
            assert [finding for page in audit.look() for finding in page] == []
            assert audit.tally.excused == 1
    with bootstrap.verifying(settings) as verification:
        assert [finding for page in verification.all() for finding in page] == []
        assert verification.looked_at == 599


def test_a_move_that_was_cut_off_goes_on_and_others_are_left_alone(
    tmp_path: Path, ledger: Ledger, redis_server: RedisServer
) -> None:
    dimension = {"dimension": lambda _: DIMENSION}
    live = f"moved-{'a' * 16}"
    with (
        closing(open_store(QdrantSettings(), data_dir=tmp_path / "here")) as here,
        closing(open_store(QdrantSettings(), data_dir=tmp_path / "there")) as there,
        closing(
            Ledger.connect(RedisSettings(url=other(redis_server)), options=IngestSettings())
        ) as to,
    ):
        here.create(live, dimension=DIMENSION)
        here.publish(["moved"], collection=live)
        here.upsert(live, write(bare([f"10.1000/{n}" for n in range(700)])), revisions=())
        join(ledger, here, live, alias="moved")
        sides = {"ledgers": (ledger, to), "stores": (here, there), "alias": "moved", **dimension}
        next(Move(**sides).points())  # and here it is cut off
        again = Move(**sides)
        again.check()
        assert list(again.points())[-1] == (700, 700)
        buried = ledger.bury(["a", "b"])
        ledger.open("job", identity=None, source="x", batch_records=9)
        ledger.note_rejections("job", [Rejection("a", 1, "b", "c")])
        keys = list(again.ledger())[-1]
        assert keys >= 5
        assert to.buried(["a", "b"]) == {"a": buried, "b": buried}
        assert to.rejections("job") == ledger.rejections("job")
        assert to.epoch() == ledger.epoch() == str(buried)
        assert to.bury(["c"]) > buried, "sequences go on"
        assert to.identity() == ledger.identity()
        assert (there.live("moved"), there.count(live)) == (live, 700)
        to.identify(Identity("another", "moved", has_store=True))
        with pytest.raises(ConfigurationError, match="is of deployment another already"):
            again.check()
        to._redis.flushdb()
        there.assign(live, deployment="another")
        with pytest.raises(ConfigurationError, match="has a collection"):
            again.check()


def move(settings: Settings) -> None:
    with bootstrap.moving(settings) as moving:
        moving.check()


def other(server: RedisServer) -> str:
    """Another database of the same server."""
    return server.url.removesuffix("/0") + "/5"
