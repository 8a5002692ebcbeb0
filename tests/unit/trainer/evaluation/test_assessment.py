"""Versions on a held-out set: what anchors the guards, and what is kept of their scores."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from schemas.history import Entry
from schemas.model import ModelVersion
from tests.support.learnable import hold_out, write_pairs
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import open_stores
from trainer.errors import EvaluationError
from trainer.evaluation import assessment, subjects
from trainer.history import History
from trainer.stores import Stores
from worker.settings.environment import Settings
from worker.settings.training import GateSettings

RULES = GateSettings(metric="roc_auc", guards={"roc_auc": 1.0}, minimum_groups=2)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    made = open_stores(Settings(data_dir=tmp_path / "data", embed={"threads": 1}))
    made.pairs.import_files([str(write_pairs(tmp_path / "pairs.csv"))])
    hold_out(made)
    return made


def register(stores: Stores, seed: int) -> ModelVersion:
    path = make_tiny_model(stores.root.parent.parent / f"tiny{seed}", seed=seed)
    return stores.registry.register(path, name=f"tiny{seed}", templates=("{doi}",))


def switched(version: str, previous: str) -> Entry:
    now = datetime.now(UTC)
    return Entry(
        kind="promote",
        started_at=now,
        ended_at=now,
        outcome="switched",
        version=version,
        previous=previous,
    )


def test_guards_hold_beside_the_base_model_and_earlier_champions(stores: Stores) -> None:
    first, second, third = (register(stores, seed).version for seed in range(3))
    history = History.below(stores.settings.data_dir)
    history.append(switched(first, "f" * 64))  # what was pruned is no longer known
    history.append(switched(second, first))
    held_out = stores.held_out.load()
    champion, challenger = (subjects.version_subject(stores, one) for one in (second, third))
    verdict = assessment.compare(stores, champion, challenger, held_out, rules=RULES)
    assert [(a.name, len(a.subject)) for a in verdict.anchors] == [("base", 64), ("tiny0", 64)]
    assert verdict.anchors[1].subject == first
    metrics = {(d.metric, d.part) for anchor in verdict.anchors for d in anchor.differences}
    assert ("roc_auc", "all") in metrics
    assert any("beside the anchors: base " in reason for reason in verdict.reasons)
    strict = RULES.model_copy(update={"guards": {"roc_auc": -2.0}})
    verdict = assessment.compare(stores, champion, challenger, held_out, rules=strict)
    assert sum("Beside the anchor" in reason for reason in verdict.reasons) == 2
    weights = stores.registry.look(first)[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"........")
    (broken,) = (stores.root / "scores").rglob(f"{first}.npz")
    broken.unlink()
    verdict = assessment.compare(stores, champion, challenger, held_out, rules=RULES)
    assert [anchor.name for anchor in verdict.anchors] == ["base"], "no anchor, and in no way"
    none = RULES.model_copy(update={"guards": {}})
    assert not assessment.compare(stores, champion, challenger, held_out, rules=none).anchors


def test_scores_are_kept_by_the_device_that_made_them(stores: Stores) -> None:
    subject = subjects.version_subject(stores, register(stores, 0).version)
    assessment.assess(stores, subject, stores.held_out.load())
    (made,) = (stores.root / "scores").rglob("*.npz")
    assert "auto" not in made.parent.name.split("-")[:2]
    embed = stores.settings.embed.model_copy(update={"device": "cpu"})
    named = stores._replace(settings=stores.settings.model_copy(update={"embed": embed}))
    assessment.assess(named, subject, stores.held_out.load())
    kinds = {path.parent.name for path in (stores.root / "scores").rglob("*.npz")}
    assert "2-cpu-auto" in kinds


def test_a_challenger_may_know_no_more_than_the_champion(stores: Stores) -> None:
    """Of a model that was taken in by name nobody knows what it was trained on."""
    first, second = (register(stores, seed).version for seed in range(2))
    other = stores.registry.retemplate(first, templates=("{title}", "{doi}")).version
    one, two, again = (subjects.version_subject(stores, v) for v in (first, second, other))
    base = subjects.find(stores, "base")
    held_out, rules = stores.held_out.load(), RULES.model_copy(update={"guards": {}})
    assert (one.strangers, base.strangers) == (again.strangers, frozenset())

    def reasons(champion: subjects.Subject, challenger: subjects.Subject) -> str:
        found = assessment.compare(stores, champion, challenger, held_out, rules=rules)
        return "\n".join([str(found.promote), *found.reasons])

    for champion, challenger in ((one, two), (base, two)):
        assert f"isn't known what tiny1 {second[:12]}" in reasons(champion, challenger)
        assert "promote it by hand" in reasons(champion, challenger)
        with pytest.raises(EvaluationError, match="promote it by hand"):
            assessment.check_parent(champion, challenger)
    assert "then it looks better than it is" in reasons(one, base)
    assert "promote it by hand" not in reasons(one, base)
    assert "promote it by hand" not in reasons(one, again), "the same weights"
    assessment.check_parent(one, again)
    assert assessment.assess(stores, one, held_out).seen is None
    assert assessment.assess(stores, base, held_out).seen == 0
