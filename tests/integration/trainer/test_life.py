"""A model's whole life on a real Qdrant server, with readers and ingest going on throughout."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, deployed
from tests.support.learnable import EASILY, hold_out, write_pairs, write_recipe
from tests.support.life import DOIS, Life, Silent, record, registered, started
from tests.support.servers import wait_until
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import make_refine, open_stores
from trainer.promotion.prune import prune, removable
from trainer.refinement.desk import Logged
from trainer.refinement.pending import Wishes

TITLES = ("{title}. {venue}", "{title}", "{doi}")
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, model=make_tiny_model(tmp_path / "first"), **EASILY) as made:
        yield made


@pytest.fixture
def life(deployment: Deployment) -> Life:
    return Life(deployment, models=deployment.settings.data_dir / "models")


def refine(deployment: Deployment) -> str:
    """Train on pairs, ask the gate, promote; returns the version that is live then."""
    stores = open_stores(deployment.settings)
    pairs = write_pairs(deployment.folder / "pairs.csv")
    stores.pairs.import_files([str(pairs)], dry_run=False)
    hold_out(stores)
    recipe = write_recipe(deployment.folder / "tiny.toml")
    entry = make_refine(deployment.settings, watcher=Logged()).run(
        Wishes(recipe=str(recipe), parent="live")
    )
    assert entry.outcome == "promoted", entry.words
    assert entry.version
    return entry.version


def test_a_whole_life(deployment: Deployment, life: Life, tmp_path: Path) -> None:
    started(deployment, workers=2)
    life.ingest([record(doi) for doi in DOIS[:400]])
    with life.promoter() as promoter, life.going_on():
        first = promoter.live()
        second = refine(deployment)
        assert promoter.live() == second != first
        back = promoter.rollback(watcher=Silent(life))
        assert (back.version, back.previous) == (first, second)
        assert promoter.promote(second[:12], watcher=Silent(life)).previous == first
    life.check()
    models = [name for name in life.answers if name.startswith("dois-")]
    assert len(models) == 2, "answers came from both models"


def test_a_model_of_another_dimension_that_reads_other_texts(
    deployment: Deployment, life: Life, tmp_path: Path
) -> None:
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
        assert watcher.steps == [
            *("check", "create", "backfill", "index", "candidate", "last lap", "verify"),
            *("switch", "release"),
        ]
        life.check()
        with life.going_on("writer"):
            flipped = promoter.rollback(now=True, watcher=Silent(life))
            assert flipped.version == promoter.live() == first
        life.check()
        promoter.promote(second, watcher=Silent(life))
        assert removable(promoter, keep=0) == [], "neither the live one nor the one before"
        third = registered(deployment, tmp_path / "second", ("{doi}",), "third")
        promoter.promote(third, watcher=Silent(life))
        found = removable(promoter, keep=0)
        assert [one.version for one in found] == [first]
        prune(promoter, keep=0)
        assert len(promoter.store.collections("dois")) == 2
        assert promoter.stores.registry.versions() == sorted([second, third])
        life.ingest([record(doi) for doi in DOIS[400:500]])
        life.check()
    with deployment.redis_client() as redis:
        wait_until(lambda: redis.zcard("doivec:outstanding") + redis.zcard("doivec:backfill") == 0)
        assert str(redis.get("doivec:route")).endswith(" '")
