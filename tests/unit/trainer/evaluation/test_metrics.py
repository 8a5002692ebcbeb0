"""The metrics against scikit-learn and SciPy, the bootstrap against what it must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from trainer.evaluation import metrics
from trainer.evaluation.metrics import PAIR_METRICS, rank, retrieval

Rows = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
REFERENCES = {
    "roc_auc": lambda scores, labels: sklearn_metrics.roc_auc_score(labels, scores),
    "average_precision": lambda s, labels: sklearn_metrics.average_precision_score(labels, s),
    "pearson": lambda scores, labels: stats.pearsonr(scores, labels).statistic,
    "spearman": lambda scores, labels: stats.spearmanr(scores, labels).statistic,
}


@st.composite
def weighted_rows(draw: st.DrawFn) -> Rows:
    """Scores with ties, labels, and how often each row is there: at least a row of each label."""
    row = st.tuples(st.integers(-4, 4), st.integers(0, 1), st.integers(0, 5))
    rows = [(-1, 0, 1), (2, 1, 1), *draw(st.lists(row, max_size=40))]
    scores, labels, weights = np.array(rows).T
    return scores / 8, labels, weights


@pytest.mark.parametrize("name", PAIR_METRICS)
@given(rows=weighted_rows())
def test_a_weight_counts_as_repeated_rows_do_in_the_libraries(name: str, rows: Rows) -> None:
    scores, labels, weights = rows
    found = PAIR_METRICS[name](rank(scores, labels, weights))
    expected = REFERENCES[name](np.repeat(scores, weights), np.repeat(labels, weights))
    assert found == pytest.approx(expected, abs=1e-9)


@given(rows=weighted_rows())
def test_auc_and_average_precision_agree_with_sample_weights(rows: Rows) -> None:
    scores, labels, weights = rows[0], rows[1], rows[2] + 0.25
    ranked = rank(scores, labels, weights)
    auc = sklearn_metrics.roc_auc_score(labels, scores, sample_weight=weights)
    precision = sklearn_metrics.average_precision_score(labels, scores, sample_weight=weights)
    assert metrics.roc_auc(ranked) == pytest.approx(auc)
    assert metrics.average_precision(ranked) == pytest.approx(precision)


def test_distinct_float32_scores_agree_too() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 3000)
    scores = (generator.normal(size=3000) + labels).astype(np.float32)
    ranked = rank(scores, labels, np.ones(3000))
    for name, reference in REFERENCES.items():
        assert PAIR_METRICS[name](ranked) == pytest.approx(reference(scores, labels), abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "labels", "defined"),
    [
        ([0.1, 0.2], [1, 1], {"average_precision"}),
        ([0.1, 0.2], [0, 0], set()),
        ([0.1, 0.1, 0.1], [0, 1, 1], {"roc_auc", "average_precision"}),
    ],
)
def test_what_is_undefined_is_not_a_number(
    scores: list[float], labels: list[int], defined: set[str]
) -> None:
    ranked = rank(np.array(scores), np.array(labels), np.ones(len(scores)))
    assert {n for n, metric in PAIR_METRICS.items() if np.isfinite(metric(ranked))} == defined


def test_draws_are_of_all_groups_and_the_same_each_time() -> None:
    taken = np.vstack(list(metrics.draws(30)))
    assert taken.shape == (1000, 30)
    assert (taken.sum(axis=1) == 30).all()
    assert taken.mean(axis=0) == pytest.approx(np.ones(30), abs=0.15)
    assert (taken == np.vstack(list(metrics.draws(30, at_once=7)))).all()
    assert len({row.tobytes() for row in taken}) == 1000


def test_resampling_is_repeating_the_groups_rows() -> None:
    generator = np.random.default_rng(1)
    labels, groups = generator.integers(0, 2, 60), np.arange(60) % 12
    scores = np.round(generator.normal(size=60), 1)
    found = metrics.resample_pairs(PAIR_METRICS, scores, labels=labels, groups=groups)
    taken = np.vstack([np.ones((1, 12), np.int64), *metrics.draws(12)])
    for name, reference in REFERENCES.items():
        assert found[name].shape == (1001,)
        for place in (0, 1, 17, 1000):
            repeats = taken[place][groups]
            expected = reference(np.repeat(scores, repeats), np.repeat(labels, repeats))
            assert found[name][place] == pytest.approx(expected)


def test_a_group_of_many_queries_counts_once() -> None:
    values = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    found = metrics.mean_of_groups(values, groups=np.array([0, 1, 1, 1, 1]))
    assert found.value == pytest.approx(0.5)
    assert -1 <= found.low <= 0.5 <= found.high <= 1


@pytest.mark.parametrize("skew", [0.0, 1.0, -1.0])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(skew: float) -> None:
    generator = np.random.default_rng(2)
    above = below = 0
    for _ in range(400):
        noise = generator.exponential(size=60) - 1 if skew else generator.normal(size=60)
        found = metrics.mean_of_groups(0.1 * (skew or 1) * noise, groups=np.arange(60))
        above, below = above + (found.low > 0), below + (found.high < 0)
    assert 0 < above + below <= 32, "about 5 of 100, skewed or not"


def test_an_interval_of_figures_that_are_all_one_is_that_one() -> None:
    found = metrics.mean_of_groups(np.full(30, 0.25), groups=np.arange(30))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("others", [0.0, 0.0002])
@pytest.mark.parametrize("found", [1, 2, 3])
def test_the_interval_of_what_nearly_always_is_zero_stays_near_zero(
    found: int, others: float
) -> None:
    """A query in three hundred finds something: nobody knows more than that it is few."""
    values = np.array([1.0] * found + [others] * (300 - found))
    interval = metrics.mean_of_groups(values, groups=np.arange(300))
    exact = stats.binomtest(found, 300).proportion_ci(method="exact")
    assert exact.high < interval.high < 3 * exact.high
    assert 0 <= interval.low <= interval.value
    tiny = metrics.mean_of_groups(np.arange(300) % 100 / 1e6, groups=np.arange(300))
    assert tiny.high < 1e-4


def test_an_estimate_leaves_out_undefined_draws_and_may_be_undefined() -> None:
    found = metrics.estimate(np.array([0.5, np.nan, 0.4, 0.6]))
    assert found is not None
    assert (found.value, found.low, found.high) == (0.5, pytest.approx(0.405), pytest.approx(0.595))
    assert metrics.estimate(np.array([np.nan, 0.4])) is None
    assert metrics.estimate(np.array([0.5, np.nan])) is None


@given(
    relevance=st.lists(st.integers(0, 1), min_size=30, max_size=30).filter(any),
)
def test_retrieval_agrees_with_scikit_learn_and_the_definitions(relevance: list[int]) -> None:
    ranks = np.flatnonzero(relevance) + 1.0
    order = -np.arange(30.0)
    found = retrieval(ranks)
    assert found.ndcg == pytest.approx(sklearn_metrics.ndcg_score([relevance], [order], k=10))
    assert found.recall == sum(relevance[:10]) / min(10, sum(relevance))
    assert found.mrr == 1 / ranks[0]


def test_what_can_not_be_found_still_counts() -> None:
    found = retrieval(np.array([1.0, np.inf]))
    assert found.recall == 0.5
    assert found.ndcg == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert retrieval(np.array([np.inf])) == (0.0, 0.0, 0.0)
