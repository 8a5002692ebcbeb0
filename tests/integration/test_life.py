"""A model's whole life on a real Qdrant server, with readers and ingest going on throughout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.life import DOIS, Life, Silent, record, registered, started
from tests.servers import QdrantServer, RedisServer, wait_until
from tests.tiny_model import make_tiny_model
from trainer.prune import prune, removable

TITLES = ("{title}. {venue}", "{title}", "{doi}")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    redis, qdrant = RedisServer(tmp_path / "redis"), QdrantServer(tmp_path / "qdrant")
    redis.start()
    qdrant.start()
    model = make_tiny_model(tmp_path / "first")
    made = Deployment(tmp_path, redis=redis, qdrant=qdrant, model=model)
    yield made
    made.close()
    redis.stop()
    qdrant.stop()


@pytest.fixture
def life(deployment: Deployment) -> Life:
    return Life(deployment, models=deployment.settings.data_dir / "models")


def test_a_whole_life(deployment: Deployment, life: Life, tmp_path: Path) -> None:
    started(deployment, workers=2)
    life.ingest([record(doi) for doi in DOIS[:400]])
    other = make_tiny_model(tmp_path / "second", seed=1, dimension=48)
    second = registered(deployment, other, TITLES, "second")
    with life.promoter() as promoter:
        first = promoter.live()
        assert first
        with life.going_on():
            done = promoter.promote(second, watcher=(watcher := Silent(life)))
            assert (done.version, done.previous, done.missing) == (second, first, 0)
            assert promoter.live() == second
            back = promoter.rollback(watcher=Silent(life))
            assert (back.version, back.previous) == (first, second)
            assert promoter.promote(second[:12], watcher=Silent(life)).previous == first
        life.check()
        models = [name for name in life.answers if name.startswith("dois-")]
        assert len(models) == 2, "answers came from both models"
        with life.going_on("writer"):
            flipped = promoter.rollback(now=True, watcher=Silent(life))
            assert flipped.version == promoter.live() == first
        life.check()
        assert watcher.steps == [
            *("check", "create", "backfill", "index", "candidate", "last lap", "verify"),
            *("switch", "release"),
        ]
        promoter.promote(second, watcher=Silent(life))
        life.check()
        assert promoter.previous() == first
        assert removable(promoter, keep=0) == [], "neither the live one nor the one before"
        third = registered(deployment, tmp_path / "second", ("{doi}",), "third")
        promoter.promote(third, watcher=Silent(life))
        life.check()
        found = removable(promoter, keep=0)
        assert [one.version for one in found] == [first]
        prune(promoter, found)
        assert len(promoter.store.collections("dois")) == 2
        assert promoter.stores.registry.versions() == sorted([second, third])
        life.ingest([record(doi) for doi in DOIS[400:500]])
        life.check()
    with deployment.redis_client() as redis:
        wait_until(lambda: redis.zcard("doivec:outstanding") + redis.zcard("doivec:backfill") == 0)
        assert str(redis.get("doivec:route")).endswith(" '")
