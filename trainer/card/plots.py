"""The plots of a model card: small PNG files, drawn without a display or global state.

Colours are Okabe and Ito's, which colour-blind readers can tell apart
(https://jfly.uni-koeln.de/color/); lines differ by dashes or markers besides. Names come from
outside, so none is read as mathematical notation.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from schemas.evaluation import Estimate, EvalReport, Verdict
from schemas.training import LossPoint

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DOTS_PER_INCH = 100
BINS = 60
SEARCH, WHOLE = "ndcg@10", "all"
ROW_INCHES = 0.55
NAME_CHARACTERS = 44

Floats = NDArray[np.float64]


class Curves(NamedTuple):
    """ROC and precision-recall at each threshold, all float64 [thresholds], 0 to 1."""

    false_positives: Floats
    recall: Floats
    precision: Floats


def training_loss(
    log: Sequence[LossPoint], path: Path, *, reference: Mapping[int, float] | None = None
) -> None:
    """Draw the training loss by optimizer step; `reference` is the original model's, by step."""
    figure, axes = _figure(7, 4)
    steps, losses = [point.step for point in log], [point.loss for point in log]
    axes.plot(steps, losses, "o-", ms=4, color=COLOURS[0], label="this model")
    if reference:
        known = sorted(reference)
        values = [reference[step] for step in known]
        axes.plot(known, values, "s--", ms=4, color=COLOURS[1], label="original model, other pairs")
        _legend(axes)
    axes.set_title("Training loss, mean since the point before")
    axes.set(xlabel="optimizer step", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _save(figure, path)


def score_distributions(cosine: ArrayLike, labels: ArrayLike, path: Path) -> None:
    """Draw how the cosine [n] of held-out pairs is spread, for each label [n]; NaN is left out."""
    figure, axes = _figure(7, 4)
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
    _legend(axes)
    _save(figure, path)


def roc_and_precision_recall(
    scores: Mapping[str, ArrayLike], labels: ArrayLike, path: Path
) -> None:
    """Draw the ROC and the precision-recall curve of each model's cosine [n] over its pairs.

    NaN is left out, so that a model is drawn on the pairs that it reads; one that doesn't read
    pairs of both labels isn't drawn. The grey lines are guessing.
    """
    figure, roc, precision = _two_panels(8.4, 4)
    share = float(np.mean(np.asarray(labels) == 1))
    roc.plot([0, 1], [0, 1], color="0.6", lw=1, label="guessing")
    precision.plot([0, 1], [share, share], color="0.6", lw=1)
    for number, (name, cosine) in enumerate(scores.items()):
        values, truth = _read(cosine, labels)
        if 0 < truth.sum() < len(truth):
            line: dict[str, Any] = {
                "color": _nth(COLOURS, number),
                "ls": _nth(DASHES, number),
                "label": _short(name),
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
    _legend(roc, loc="lower right")
    _save(figure, path)


def ndcg_by_slice(reports: Sequence[EvalReport], path: Path) -> None:
    """Draw nDCG@10 with its 95 % interval, for each slice that has queries and each report."""
    parts = _parts(reports)
    figure, axes = _figure(7.5, 1.6 + ROW_INCHES * len(parts))
    for number, report in enumerate(reports):
        offset = 0.6 * ((number + 0.5) / len(reports) - 0.5)
        marks = [report.metric(SEARCH, part) for part in parts]
        found = [(row + offset, mark) for row, mark in enumerate(marks) if mark is not None]
        style: dict[str, Any] = {"color": _nth(COLOURS, number), "fmt": _nth(MARKERS, number)}
        axes.errorbar(
            [mark.value for _, mark in found],
            [row for row, _ in found],
            xerr=_errors([mark for _, mark in found]),
            label=_short(report.name),
            **style,
        )
    axes.set_yticks(range(len(parts)), [_short(part) for part in parts], parse_math=False)
    axes.invert_yaxis()
    axes.set_title("Search among the held-out documents, by slice")
    axes.set(xlabel="nDCG@10, with its 95 % interval", xlim=(0, None))
    _legend(axes, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def differences(verdicts: Mapping[str, Verdict], path: Path) -> None:
    """Draw what changes beside one champion, by the challengers' names: what a gate looks at.

    A row for each metric on the slice `all`, and for nDCG@10 by slice, with its paired interval;
    left of the line a challenger is worse.
    """
    rows = _rows(verdicts.values())
    figure, axes = _figure(7.5, 1.6 + ROW_INCHES * len(rows))
    axes.axvline(0, color="0.4", lw=1)
    for number, (name, verdict) in enumerate(verdicts.items()):
        offset = 0.6 * ((number + 0.5) / len(verdicts) - 0.5)
        known = {(one.part, one.metric): one.difference for one in verdict.differences}
        found = [(n + offset, known[row]) for n, row in enumerate(rows) if row in known]
        style: dict[str, Any] = {"color": _nth(COLOURS, number), "fmt": _nth(MARKERS, number)}
        marks = [mark for _, mark in found]
        axes.errorbar(
            [mark.value for mark in marks],
            [row for row, _ in found],
            xerr=_errors(marks),
            label=_short(f"{name}, {'promote' if verdict.promote else 'refuse'}"),
            **style,
        )
    names = [_short(f"{metric}, {part}") for part, metric in rows]
    axes.set_yticks(range(len(rows)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_title("Challengers beside the champion")
    axes.set(xlabel="difference, with its 95 % interval")
    _legend(axes, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


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


def _errors(marks: Sequence[Estimate]) -> Floats:
    sides = [[max(m.value - m.low, 0) for m in marks], [max(m.high - m.value, 0) for m in marks]]
    return np.asarray(sides, np.float64)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure((width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, _quiet(figure.add_subplot())


def _two_panels(width: float, height: float) -> tuple[Figure, Axes, Axes]:
    figure = Figure((width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, _quiet(figure.add_subplot(1, 2, 1)), _quiet(figure.add_subplot(1, 2, 2))


def _quiet(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    return axes


def _legend(axes: Axes, **place: Any) -> None:
    legend = axes.legend(frameon=False, fontsize="small", **place)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else name[: NAME_CHARACTERS - 1] + "…"


def _nth(cycle: Sequence[str], number: int) -> str:
    return cycle[number % len(cycle)]


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", pil_kwargs={"optimize": True})
