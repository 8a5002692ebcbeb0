"""Figures of merit, weighted so that a bootstrap over groups is a reweighting; pure numpy."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.evaluation import Estimate

DRAWS = 1000
SEED = 20_240_607
TOP = 10
TINY = 1e-12
LEAST_ERROR = 0.2
INTERVAL = (2.5, 97.5)
DRAWS_AT_ONCE = 16
CELLS_AT_ONCE = 2_000_000
Floats = NDArray[np.float64]


class Ranked(NamedTuple):
    """Labels and weights by score: the distinct `scores` [k] from the highest down.

    `positive` [..., k] is the weight of label 1 at each score, `total` that of both labels.
    """

    scores: Floats
    positive: Floats
    total: Floats


class Retrieval(NamedTuple):
    """The figures of one query, each 0 to 1."""

    ndcg: float
    recall: float
    mrr: float


def rank(scores: NDArray[np.floating], labels: NDArray[np.integer], weights: Floats) -> Ranked:
    """Order pairs by score, ties as one.

    `scores` [n] without NaN, `labels` 0 or 1 [n], `weights` [..., n], not negative: how often
    each pair counts.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    weights = weights[..., order]
    positive = np.add.reduceat(weights * labels[order], starts, axis=-1)
    return Ranked(ordered[starts], positive, np.add.reduceat(weights, starts, axis=-1))


def roc_auc(ranked: Ranked) -> Floats:
    """The area under the ROC curve [...]: the chance that a positive scores higher, ties half.

    NaN where a label has no weight. As scikit-learn's `roc_auc_score`; Mann and Whitney 1947,
    Hanley and McNeil 1982.
    """
    negative = ranked.total - ranked.positive
    all_negatives = negative.sum(-1)
    lower = all_negatives[..., None] - np.cumsum(negative, -1)
    won = (ranked.positive * (lower + negative / 2)).sum(-1)
    return _divide(won, ranked.positive.sum(-1) * all_negatives)


def average_precision(ranked: Ranked) -> Floats:
    """The mean of the precision at each positive [...], without interpolation.

    NaN where no positive has weight. As scikit-learn's `average_precision_score`: the sum over
    distinct scores of the recall gained there times the precision there.
    """
    found = np.cumsum(ranked.positive, -1)
    precision = _divide(found, np.cumsum(ranked.total, -1), undefined=0.0)
    return _divide((ranked.positive * precision).sum(-1), found[..., -1])


def pearson(ranked: Ranked) -> Floats:
    """The linear correlation of scores and labels [...], -1 to 1.

    NaN where scores or labels do not vary. As SciPy's `pearsonr`.
    """
    return _correlation(ranked, ranked.scores - ranked.scores[0])  # the same, exact for one score


def spearman(ranked: Ranked) -> Floats:
    """The rank correlation of scores and labels [...], -1 to 1: Pearson's over midranks.

    NaN where scores or labels do not vary. As SciPy's `spearmanr` on rows that are repeated as
    often as their weight says. The midranks of two labels are a linear map of the labels, so
    that only the scores need ranks.
    """
    from_above = np.cumsum(ranked.total, -1) - ranked.total / 2
    return _correlation(ranked, ranked.total.sum(-1, keepdims=True) - from_above)


def mean(ranked: Ranked) -> Floats:
    """The mean of the scores [...]."""
    return _divide(ranked.total @ ranked.scores, ranked.total.sum(-1))


Metric = Callable[[Ranked], Floats]
PAIR_METRICS: dict[str, Metric] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "spearman": spearman,
    "pearson": pearson,
}


def retrieval(ranks: NDArray[np.floating], top: int = TOP) -> Retrieval:
    """nDCG, recall and reciprocal rank of a query, from the ranks (from 1) of its relevants.

    `ranks` float [relevant], infinite for those that can't be found. nDCG with binary gains
    (Järvelin and Kekäläinen 2002), its ideal over min(top, relevant). Recall is capped as in
    BEIR (Thakur et al. 2021): found in the top, of min(top, relevant), so that the best is 1.
    The reciprocal rank is over the full ranking.
    """
    best = np.arange(1, min(top, len(ranks)) + 1)
    inside = ranks[ranks <= top]
    gain = float((1 / np.log2(1 + inside)).sum() / (1 / np.log2(1 + best)).sum())
    return Retrieval(gain, len(inside) / len(best), float(1 / ranks.min()))


def draws(
    groups: int, count: int = DRAWS, *, at_once: int = DRAWS_AT_ONCE
) -> Iterator[NDArray[np.int32]]:
    """How often each draw takes each group, in blocks int32 [`at_once`, groups], `count` in all.

    Groups are drawn with replacement (Efron 1979; the cluster bootstrap): rows sum to `groups`. The
    seed is fixed: the same groups give the same draws, whatever the model and the blocks. All of
    them at once would take a gigabyte for a hundred thousand groups.
    """
    generator = np.random.default_rng(SEED)
    shares = np.full(groups, 1 / groups)
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        yield generator.multinomial(groups, shares, size=size).astype(np.int32)


def resample_pairs(
    metrics: Mapping[str, Metric],
    scores: NDArray[np.floating],
    *,
    labels: NDArray[np.integer],
    groups: NDArray[np.integer],
) -> dict[str, Floats]:
    """Each metric on the pairs as they are, then on each draw of their groups: [1 + draws].

    `groups` [n] numbers each pair's group from 0, without gaps.
    """
    order = np.argsort(-scores, kind="stable")  # to order again what is ordered costs little
    scores, labels, groups = scores[order], labels[order], groups[order]
    count = int(groups.max()) + 1
    at_once = max(1, min(DRAWS_AT_ONCE, CELLS_AT_ONCE // len(scores)))
    found: dict[str, list[Floats]] = {name: [] for name in metrics}
    for taken in chain([np.ones((1, count), np.int32)], draws(count, at_once=at_once)):
        ranked = rank(scores, labels, taken[:, groups].astype(np.float64))
        for name, metric in metrics.items():
            found[name].append(metric(ranked))
    return {name: np.concatenate(values) for name, values in found.items()}


def mean_of_groups(values: NDArray[np.floating], *, groups: NDArray[np.integer]) -> Estimate:
    """The mean over groups of each group's mean, with its 95 % interval.

    `values` [n] are queries' figures or differences, at most 1 in size; `groups` [n] numbers
    their groups from 0, without gaps. The interval holds both the percentile one and the
    bootstrap-t one (Efron 1981), which measures each draw's mean in its own standard errors: each
    alone is too narrow where groups are few and the figures are skewed or mostly zero, as
    differences of nDCG are. A draw's standard error counts as a fifth of the sample's at least: of
    figures that nearly always are 0, a draw that met none of the others has none of its own.
    """
    sizes = np.bincount(groups)
    means = np.bincount(groups, weights=values) / sizes
    mean, n = float(means.mean()), len(means)
    error = float(means.std()) / np.sqrt(n)
    if error < TINY:
        return Estimate(value=mean, low=mean, high=mean)
    of_both = np.column_stack([means, means**2])
    drawn, squares = np.concatenate([taken @ of_both for taken in draws(n)]).T / n
    spread = np.sqrt(np.maximum(squares - drawn**2, 0) / n)
    t = (drawn - mean) / np.maximum(spread, LEAST_ERROR * error)
    below, above = np.percentile(t, INTERVAL, method="nearest") * error
    plain = np.percentile(drawn, INTERVAL)
    floor = -1.0 if (means < 0).any() else 0.0
    low, high = np.clip([mean - above, mean - below], floor, 1)
    return Estimate(value=mean, low=float(min(low, plain[0])), high=float(max(high, plain[1])))


def estimate(values: Floats) -> Estimate | None:
    """The first value with the 2.5th and 97.5th percentile of the others; None if undefined.

    Draws in which the metric is undefined (one label only) are left out.
    """
    defined = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not len(defined):
        return None
    low, high = np.percentile(defined, INTERVAL)
    return Estimate(value=float(values[0]), low=float(low), high=float(high))


def _correlation(ranked: Ranked, x: Floats) -> Floats:
    """The weighted correlation of `x` [..., k] with the labels."""
    n = ranked.total.sum(-1, keepdims=True)
    x = x - _divide((ranked.total * x).sum(-1, keepdims=True), n)
    share = _divide(ranked.positive.sum(-1, keepdims=True), n)
    covariance = (x * ranked.positive).sum(-1)
    spread = (ranked.total * x**2).sum(-1) * (n * share * (1 - share))[..., 0]
    return _divide(covariance, np.sqrt(spread))


def _divide(a: Floats, b: Floats, *, undefined: float = np.nan) -> Floats:
    """`a / b`, and `undefined` where `b` is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(b > 0, a / np.where(b > 0, b, 1), undefined)
