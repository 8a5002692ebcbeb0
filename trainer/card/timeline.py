"""The life of the live model as a plot: the figures of each version while it was live."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

from schemas.evaluation import EvalReport
from trainer.card.drawing import COLOURS, MARKERS, errors, legend, nth, panels, save
from trainer.history import Reign

SHOWN = (
    ("nDCG@10", "ndcg@10", "all"),
    ("ROC AUC", "roc_auc", "all"),
    ("ROC AUC, random", "roc_auc", "random"),
)
SHORT = 8
BEFORE = 0.1  # of the time shown: for the version that was live when the history began
MARGIN = 0.1  # of a day: so that a switch just now is seen
SWITCHES = {True: ("#D55E00", "--", "rolled back"), False: ("0.4", "-", "promoted")}

Span = tuple[float, float]


def timeline(
    reigns: Sequence[Reign], reports: Mapping[str, EvalReport], path: Path, *, now: datetime
) -> None:
    """Draw metrics with their 95 % intervals over the time that each version was live.

    A metric that none has is left out. `reports` has those of versions by their ids; one without
    is named all the same. Figures of two held-out sets have two colours, for they can't be
    compared. Promotions and rollbacks are lines. One of the `reigns` at least has a beginning.
    """
    shown = [one for one in SHOWN if any(r.metric(*one[1:]) for r in reports.values())] or SHOWN[:1]
    figure, rows = panels(9, 1.5 + 2 * len(shown), rows=len(shown))
    spans = _spans(reigns, now)
    for axes, (name, metric, part) in zip(rows, shown, strict=True):
        _figures(axes, reigns, spans, reports=reports, shown=(metric, part))
        _switches(axes, reigns)
        axes.set(ylabel=name)
    for reign, (since, _) in zip(reigns, spans, strict=True):
        place = (since, 1.02)
        rows[0].annotate(
            reign.version[:SHORT],
            place,
            xycoords=("data", "axes fraction"),
            rotation=45,
            fontsize="small",
        )
    axes = rows[-1]
    axes.set_xlim(spans[0][0], spans[-1][1] + MARGIN)
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set(xlabel="when it was live (UTC)")
    if rows[0].get_legend_handles_labels()[0]:
        legend(rows[0], loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def _spans(reigns: Sequence[Reign], now: datetime) -> list[Span]:
    """From when to when each was live, as matplotlib counts days."""
    known = [reign.since for reign in reigns if reign.since]
    first, last = _days(known[0]), _days(max(now, *known))
    begins = [
        _days(reign.since) if reign.since else first - (last - first) * BEFORE for reign in reigns
    ]
    return list(zip(begins, [*begins[1:], last], strict=True))


def _figures(
    axes: Axes,
    reigns: Sequence[Reign],
    spans: Sequence[Span],
    *,
    reports: Mapping[str, EvalReport],
    shown: tuple[str, str],
) -> None:
    sets = list(dict.fromkeys(report.held_out for report in reports.values()))
    named = set[str]()
    for reign, span in zip(reigns, spans, strict=True):
        report = reports.get(reign.version)
        mark = report.metric(*shown) if report else None
        if report is None or mark is None:
            continue
        number = sets.index(report.held_out)
        colour, name = nth(COLOURS, number), f"on {report.held_out[:SHORT]}"
        axes.plot(span, [mark.value] * 2, color=colour, lw=2)
        axes.errorbar(
            [sum(span) / 2],
            [mark.value],
            yerr=errors([mark]),
            fmt=nth(MARKERS, number),
            color=colour,
            label=None if name in named else name,
        )
        named.add(name)


def _switches(axes: Axes, reigns: Sequence[Reign]) -> None:
    named = set[str]()
    for reign in reigns:
        if reign.since:
            colour, dash, name = SWITCHES[reign.by == "rollback"]
            label = None if name in named else name
            axes.axvline(_days(reign.since), color=colour, ls=dash, lw=1, label=label)
            named.add(name)


def _days(when: datetime) -> float:
    return float(date2num(when))  # type: ignore[no-untyped-call]
