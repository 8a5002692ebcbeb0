"""The plots of a model card: small PNG files."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from schemas.evaluation import EvalReport, Verdict
from schemas.training import LossPoint
from trainer.card.drawing import (
    COLOURS,
    DASHES,
    MARKERS,
    Floats,
    canvas,
    errors,
    legend,
    nth,
    panels,
    save,
    short,
)

BINS = 60
SEARCH, WHOLE = "ndcg@10", "all"
ROW_INCHES = 0.55


class Curves(NamedTuple):
    """ROC and precision-recall at each threshold, all float64 [thresholds], 0 to 1."""

    false_positives: Floats
    recall: Floats
    precision: Floats


def training_loss(
    log: Sequence[LossPoint], path: Path, *, reference: Mapping[int, float] | None = None
) -> None:
    """Draw the training loss by optimizer step; `reference` is the original model's, by step."""
    figure, axes = canvas(7, 4)
    steps, losses = [point.step for point in log], [point.loss for point in log]
    axes.plot(steps, losses, "o-", ms=4, color=COLOURS[0], label="this model")
    if reference:
        known = sorted(reference)
        values = [reference[step] for step in known]
        axes.plot(known, values, "s--", ms=4, color=COLOURS[1], label="original model, other pairs")
        legend(axes)
    axes.set_title("Training loss, mean since the point before")
    axes.set(xlabel="optimizer step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    save(figure, path)


def score_distributions(cosine: ArrayLike, labels: ArrayLike, path: Path) -> None:
    """Draw how the cosine [n] of held-out pairs is spread, for each label [n]; NaN is left out."""
    figure, axes = canvas(7, 4)
    values, truth = _read(cosine, labels)
    edges = np.histogram_bin_edges(values, BINS)
    for label, name in enumerate(("0, not linked", "1, linked")):
        part = values[truth == label]
        share = 100 * np.histogram(part, edges)[0] / max(len(part), 1)
        style: dict[str, Any] = {"color": COLOURS[1 - label], "ls": DASHES[1 - label]}
        axes.stairs(share, edges, fill=True, alpha=0.25, color=COLOURS[1 - label])
        axes.stairs(share, edges, lw=1.6, label=f"label {name} ({len(part):,} pairs)", **style)
    axes.set_title("Scores of the held-out pairs, by label")
    axes.set(xlabel="cosine similarity of the two texts", ylabel="share of the label's pairs, %")
    legend(axes)
    save(figure, path)


def roc_and_precision_recall(
    scores: Mapping[str, ArrayLike], labels: ArrayLike, path: Path
) -> None:
    """Draw the ROC and the precision-recall curve of each model's cosine [n] over its pairs.

    NaN is left out, so that a model is drawn on the pairs that it reads; one that doesn't read
    pairs of both labels isn't drawn. The grey lines are guessing.
    """
    figure, (roc, precision) = panels(8.4, 4, columns=2)
    share = float(np.mean(np.asarray(labels) == 1))
    roc.plot([0, 1], [0, 1], color="0.6", lw=1, label="guessing")
    precision.plot([0, 1], [share, share], color="0.6", lw=1)
    for number, (name, cosine) in enumerate(scores.items()):
        values, truth = _read(cosine, labels)
        if 0 < truth.sum() < len(truth):
            line: dict[str, Any] = {
                "color": nth(COLOURS, number),
                "ls": nth(DASHES, number),
                "label": short(name),
            }
            found = curves(values, truth)
            roc.plot(found.false_positives, found.recall, **line)
            precision.plot(found.recall, found.precision, drawstyle="steps-pre", **line)
    roc.set(
        title="ROC of the held-out pairs", xlabel="false positive rate", ylabel="true positive rate"
    )
    precision.set(
        title="Precision at each recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02)
    )
    legend(roc, loc="lower right")
    save(figure, path)


def ndcg_by_slice(reports: Sequence[EvalReport], path: Path) -> None:
    """Draw nDCG@10 with its 95 % interval, for each slice that has queries and each report."""
    parts = _parts(reports)
    figure, axes = canvas(7.5, 1.6 + ROW_INCHES * len(parts))
    for number, report in enumerate(reports):
        offset = 0.6 * ((number + 0.5) / len(reports) - 0.5)
        marks = [report.metric(SEARCH, part) for part in parts]
        found = [(row + offset, mark) for row, mark in enumerate(marks) if mark is not None]
        style: dict[str, Any] = {"color": nth(COLOURS, number), "fmt": nth(MARKERS, number)}
        axes.errorbar(
            [mark.value for _, mark in found],
            [row for row, _ in found],
            xerr=errors([mark for _, mark in found]),
            label=short(report.name),
            **style,
        )
    axes.set_yticks(range(len(parts)), [short(part) for part in parts], parse_math=False)
    axes.invert_yaxis()
    axes.set_title("Search among the held-out documents, by slice")
    axes.set(xlabel="nDCG@10, with its 95 % interval", xlim=(0, None))
    legend(axes, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def differences(verdicts: Mapping[str, Verdict], path: Path) -> None:
    """Draw what changes beside one champion, by the challengers' names: what a gate looks at.

    A row for each metric on the slice `all`, and for nDCG@10 by slice, with its paired interval;
    left of the line a challenger is worse.
    """
    rows = _rows(verdicts.values())
    figure, axes = canvas(7.5, 1.6 + ROW_INCHES * len(rows))
    axes.axvline(0, color="0.4", lw=1)
    for number, (name, verdict) in enumerate(verdicts.items()):
        offset = 0.6 * ((number + 0.5) / len(verdicts) - 0.5)
        known = {(one.part, one.metric): one.difference for one in verdict.differences}
        found = [(n + offset, known[row]) for n, row in enumerate(rows) if row in known]
        style: dict[str, Any] = {"color": nth(COLOURS, number), "fmt": nth(MARKERS, number)}
        marks = [mark for _, mark in found]
        axes.errorbar(
            [mark.value for mark in marks],
            [row for row, _ in found],
            xerr=errors(marks),
            label=short(f"{name}, {'promote' if verdict.promote else 'refuse'}"),
            **style,
        )
    names = [short(f"{metric}, {part}") for part, metric in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_title("Challengers beside the champion")
    axes.set(xlabel="difference, with its 95 % interval")
    legend(axes, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def curves(scores: ArrayLike, labels: ArrayLike) -> Curves:
    """The ROC and precision-recall curves of scores [n] (high is positive) and labels [n].

    Equal scores make one threshold, as in scikit-learn's `roc_curve`; both labels must be there.
    """
    values, truth = np.asarray(scores), np.asarray(labels, np.float64)
    order = np.argsort(-values)
    last = np.append(np.diff(values[order]) != 0, True)
    hits, ranked = np.cumsum(truth[order])[last], np.arange(1, len(values) + 1)[last]
    misses = ranked - hits
    return Curves(
        np.append(0.0, misses / misses[-1]),
        np.append(0.0, hits / hits[-1]),
        np.append(hits[0] / ranked[0], hits / ranked),
    )


def _read(cosine: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    values, truth = np.asarray(cosine, np.float64), np.asarray(labels, np.int64)
    known = ~np.isnan(values)
    return values[known], truth[known]


def _parts(reports: Sequence[EvalReport]) -> list[str]:
    names = (part.name for report in reports for part in report.slices if SEARCH in part.metrics)
    return list(dict.fromkeys(names))


def _rows(verdicts: Iterable[Verdict]) -> list[tuple[str, str]]:
    """Slice and metric of each row, `all` first."""
    found = dict.fromkeys(
        (one.part, one.metric)
        for verdict in verdicts
        for one in verdict.differences
        if one.part == WHOLE or one.metric == SEARCH
    )
    return sorted(found, key=lambda row: row[0] != WHOLE)
