"""The gate: never promotes a worse model, seldom an equal one, and says why."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.evaluation import Anchor, Difference, Estimate, Verdict
from trainer.evaluation import metrics
from trainer.evaluation.gate import EASY, decide
from worker.settings.training import GateSettings

RULES = GateSettings()
GUARDS = RULES.guards
METRICS = ("ndcg@10", *GUARDS, "spearman", "pearson")
NEGATIVES = "negatives:tigr2ess:not-cited-random"


def change(
    metric: str, part: str = "all", *, by: float, within: float = 0.002, groups: int = 200
) -> Difference:
    return Difference(
        metric=metric,
        part=part,
        champion=0.5,
        challenger=0.5 + by,
        difference=Estimate(value=by, low=by - within, high=by + within),
        groups=groups,
    )


def judge(
    *found: Difference, rules: GateSettings = RULES, anchors: Sequence[Anchor] = ()
) -> Verdict:
    """The verdict where the guarded metrics that aren't `found` on all pairs stay as they are."""
    given_ = {(d.metric, d.part) for d in found}
    guards = {EASY.get(guard, (guard, "all")) for guard in GUARDS} - given_
    rest = [change(metric, part, by=0.0) for metric, part in sorted(guards)]
    names = {"champion": "a", "challenger": "b", "held_out": "h"}
    return decide([*found, *rest], **names, rules=rules, anchors=anchors)


def test_a_clearly_better_model_is_promoted_with_its_figures() -> None:
    verdict = judge(change("ndcg@10", by=0.03))
    assert verdict.promote
    assert verdict.reasons[0] == (
        "ndcg@10 on all goes from 0.500 to 0.530 (+0.030, 95 % interval +0.028 to +0.032): "
        "better by more than chance."
    )


def test_the_title_model_by_ranking_is_accepted_though_easy_pairs_lose() -> None:
    easy, hard = change("roc_auc", NEGATIVES, by=-0.019), change("roc_auc", by=0.011)
    assert judge(change("ndcg@10", by=0.008), hard, easy).promote


def test_the_title_model_by_cosine_is_refused_with_every_reason() -> None:
    easy = change("roc_auc", NEGATIVES, by=-0.034)
    verdict = judge(change("ndcg@10", by=-0.089), change("roc_auc", by=-0.023), easy)
    assert not verdict.promote
    said = "\n".join(verdict.reasons)
    assert "ndcg@10 on all goes from 0.500 to 0.411" in said
    assert "roc_auc on all goes from 0.500 to 0.477" in said
    assert "worse by more than the margin of 0.03" in said


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([], "ndcg@10 was not measured on both."),
        ([change("ndcg@10", by=0.01, within=0.011)], "not better by more than chance"),
        ([change("ndcg@10", by=0.1, groups=49)], "from 49 groups; 50 are required"),
        ([change("ndcg@10", by=0.1), change("mrr", by=-0.011)], "the margin of 0.01"),
        ([change("ndcg@10", by=0.1), change("ndcg@10", "source:x", by=-0.04)], "source:x goes"),
        (
            [change("ndcg@10", by=0.1), change("roc_auc", "random", by=-0.019)],
            "roc_auc on random goes from 0.500 to 0.481",
        ),
        ([change("ndcg@10", by=float("nan"))], "not better"),
        ([change("ndcg@10", by=0.1), change("mrr", by=float("nan"))], "worse by more than"),
    ],
)
def test_each_rule_refuses_alone(found: list[Difference], says: str) -> None:
    verdict = judge(*found)
    assert not verdict.promote
    assert any(says in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    "fall",
    [
        change("roc_auc", "source:x", by=-0.2, groups=49),
        change("roc_auc", "source:x", by=-0.05, within=0.03),
        change("pearson", by=-0.4),
        change("pearson", "source:x", by=-0.4),
    ],
    ids=["few groups", "uncertain", "not guarded", "not guarded in a slice"],
)
def test_what_does_not_refuse(fall: Difference) -> None:
    assert judge(change("ndcg@10", by=0.1), fall).promote


def test_a_challenger_that_reads_less_is_judged_on_what_both_read_and_says_so() -> None:
    verdict = judge(change("ndcg@10", by=0.1), change("read", by=-0.3))
    assert verdict.promote
    assert any("cover 20.0% of the pairs, the champion's 50.0%" in r for r in verdict.reasons)


def test_a_guard_that_was_not_measured_refuses() -> None:
    verdict = decide(
        [change("ndcg@10", by=0.1)], champion="a", challenger="b", held_out="h", rules=RULES
    )
    assert not verdict.promote
    assert "roc_auc is guarded, but was not measured on both." in verdict.reasons


def test_guards_do_not_ratchet() -> None:
    """Each challenger is within the margin of the champion, and searches better; few pass."""
    level, champions = {"base": 0.9}, ["base"]
    for number in range(10):
        name, live = f"version {number}", champions[-1]
        level[name] = level[live] - 0.019
        anchors = [
            Anchor(
                subject=one,
                name=one,
                differences=(change("roc_auc", by=level[name] - level[one]),),
            )
            for one in champions[:-1]
        ]
        fall = change("roc_auc", by=level[name] - level[live])
        verdict = judge(change("ndcg@10", by=0.03), fall, anchors=anchors)
        if verdict.promote:
            champions.append(name)
    assert champions == ["base", "version 0"]
    assert any(
        reason.startswith("Beside the anchor base base, roc_auc on all goes from 0.500 to 0.462")
        for reason in verdict.reasons
    )
    assert verdict.anchors[0].subject == "base"


def test_what_no_guard_looks_at_may_fall_beside_an_anchor() -> None:
    falls = (change("mrr", by=0), *(change("pearson", part, by=-0.4) for part in ("all", "x")))
    anchor = Anchor(subject="a" * 64, name="base", differences=falls)
    verdict = judge(change("ndcg@10", by=0.03), anchors=[anchor])
    assert verdict.promote
    assert any("beside the anchors: base aaaaaaaaaaaa." in reason for reason in verdict.reasons)
    nothing = [anchor.model_copy(update={"differences": falls[1:]})]
    said = judge(change("ndcg@10", by=0.03), anchors=nothing).reasons
    assert not any("anchors" in reason for reason in said), "nothing was measured beside it"


def test_the_rules_can_be_set() -> None:
    rules = GateSettings(metric="roc_auc", guards={}, minimum_groups=2)
    assert judge(change("roc_auc", by=0.1, groups=2), rules=rules).promote
    assert not judge(change("ndcg@10", by=0.1), change("roc_auc", by=0.0), rules=rules).promote


figures = st.floats(-1, 1) | st.just(float("nan"))
estimates = st.builds(Estimate, value=figures, low=figures, high=figures)
anything = st.lists(
    st.builds(
        Difference,
        metric=st.sampled_from(METRICS),
        part=st.sampled_from(["all", "source:x", NEGATIVES]),
        champion=figures,
        challenger=figures,
        difference=estimates,
        groups=st.integers(0, 100),
    ),
    max_size=20,
)


@given(found=anything, better=st.booleans())
def test_a_worse_model_is_never_promoted(found: list[Difference], better: bool) -> None:
    fine = [change(metric, by=0.1) for metric in ("ndcg@10", *GUARDS)] if better else []
    found = [*fine, change("roc_auc", "random", by=0.0), *found]
    verdict = decide(found, champion="a", challenger="b", held_out="h", rules=RULES)
    whole = [d for d in found if d.part == "all"]
    chosen = [d.difference for d in whole if d.metric == "ndcg@10"]
    slices = [d for d in found if d.part != "all" and d.metric in GUARDS]
    worse = (
        not chosen
        or any(not (d.value > 0 and d.low > 0) for d in chosen)
        or any(
            not d.difference.value >= -GUARDS.get(d.metric, 9.0)
            for d in whole
            if d.metric in GUARDS.keys() - {"random_roc_auc"}  # which is roc_auc of the part random
        )
        or any(d.difference.high < -0.03 and d.groups >= 50 for d in slices)
    )
    assert not (verdict.promote and worse)
    assert len(verdict.reasons) >= 2


# Noise of mean zero; differences of nDCG are skewed, and most of them are zero.
NOISES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda generator, groups: generator.normal(0, 0.2, groups),
    "long to the right": lambda generator, groups: generator.exponential(0.1, groups) - 0.1,
    "long to the left": lambda generator, groups: 0.1 - generator.exponential(0.1, groups),
    "mostly zero": lambda generator, groups: (
        generator.normal(0, 0.3, groups) * (generator.random(groups) < 0.3)
    ),
    "seldom a large loss": lambda generator, groups: np.where(
        generator.random(groups) < 0.1, -0.09, 0.01
    ),
}


def promotions(gain: float, *, groups: int, noise: str, seed: int) -> int:
    """How many of 400 challengers are promoted, each with noise of its own in every group."""
    generator = np.random.default_rng(seed)
    promoted = 0
    for _ in range(400):
        values = NOISES[noise](generator, groups) + gain
        found = metrics.mean_of_groups(values, groups=np.arange(groups))
        ndcg = change("ndcg@10", by=0.0, groups=groups).model_copy(update={"difference": found})
        promoted += judge(ndcg).promote
    return promoted


@pytest.mark.parametrize("noise", NOISES)
def test_equal_models_are_promoted_in_at_most_5_of_100_draws(noise: str) -> None:
    promoted = promotions(0.0, groups=RULES.minimum_groups, noise=noise, seed=50)
    assert promoted <= 0.05 * 400


def test_a_better_model_is_promoted_in_nearly_all_draws() -> None:
    assert promotions(0.1, groups=60, noise="normal", seed=1) >= 0.95 * 400
