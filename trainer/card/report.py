"""The model card: sentence-transformers' own, with what doivec knows of the version added."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from numpy.typing import ArrayLike

from schemas.evaluation import Estimate, EvalReport, Slice
from schemas.training import TrainingRecord
from trainer.card.limits import intended_use, limits
from trainer.card.lineage import lineage
from trainer.card.markdown import section, short, table
from trainer.card.plots import (
    ndcg_by_slice,
    roc_and_precision_recall,
    score_distributions,
    training_loss,
)
from trainer.card.stock_card import correct, insert

METRICS = {
    "ndcg@10": "nDCG@10",
    "recall@10": "recall@10",
    "mrr": "MRR",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "spearman": "Spearman",
    "pearson": "Pearson",
}
SEARCH = ("ndcg@10", "recall@10", "mrr")
SIZES = {True: ("groups", "queries"), False: ("pairs", "label 1")}
COMPARED = ("ndcg@10", "roc_auc")
INTERVALS = "In brackets, the 95 % interval from a bootstrap over the held-out groups."
CAUTION = (
    "It counts as better or worse where the two intervals don't touch, which is cautious: "
    "`doi-trainer compare` looks at paired differences and sees smaller ones."
)
UNSEARCHED = (
    " {:,} others have no text for this model. That flatters its search figures beside a model "
    "that searches them too: `doi-trainer compare` has both search the same."
)
LOSS_PLOT = "training_loss.png"
CAPTIONS = {
    LOSS_PLOT: "Training loss by optimizer step",
    "score_distributions.png": "Cosine similarity of the held-out pairs, by label",
    "roc_and_precision_recall.png": "ROC and precision-recall beside the baselines",
    "ndcg_by_slice.png": "nDCG@10 by slice beside the baselines",
}
# The log of the original model, which recipe `seed` repeats (issue 3): loss by optimizer step.
ORIGINAL = "seed"
ORIGINAL_LOSS = {
    500: 0.1294,
    1000: 0.1155,
    1500: 0.1094,
    2000: 0.0987,
    2500: 0.0984,
    3000: 0.0928,
    3500: 0.0907,
    4000: 0.0883,
    4500: 0.0842,
    5000: 0.0843,
    5500: 0.0827,
    6000: 0.0821,
}
Drawing = Callable[[Path], object]


def write_card(  # noqa: PLR0913 - what a card is made of
    folder: Path,
    *,
    stock_card: str,
    version: str,
    templates: Sequence[str],
    record: TrainingRecord,
    reports: Sequence[EvalReport],
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    earlier: Sequence[TrainingRecord] = (),
) -> None:
    """Write the model card into `folder`: README.md, and plots/*.png.

    `reports` begins with the model's, the baselines' follow; `scores` has the cosine [pairs] of
    the held-out pairs by name, the model's first, NaN where a pair isn't read; `labels` is 0 or 1
    [pairs]. Both may be empty: then the card says that the model was not evaluated. `record` is
    of the last run that made the version, `earlier` are of those that made it before. Each file is
    written under another name and moved into place, the card last. Raises `OSError`.
    """
    drawings = _drawings(record, reports, scores=scores, labels=labels)
    for name, draw in drawings.items():
        _put(folder / "plots" / name, draw)
    shown = [Path("plots") / name for name in drawings]
    text = compose(
        stock_card,
        version=version,
        templates=templates,
        record=record,
        reports=reports,
        plots=shown,
        earlier=earlier,
    )
    _put(folder / "README.md", partial(Path.write_text, data=text, encoding="utf-8"))


def compose(
    stock_card: str,
    *,
    version: str,
    templates: Sequence[str],
    record: TrainingRecord,
    reports: Sequence[EvalReport],
    plots: Sequence[Path],
    earlier: Sequence[TrainingRecord] = (),
) -> str:
    """The model card in Markdown: `stock_card`, as the Trainer wrote it, with our sections added.

    `reports` begins with the model's; the baselines' follow. `plots` are paths relative to the
    card, `templates` those that the version reads by.
    """
    sections = {
        "## Training Details": (
            section("Intended Use", intended_use(templates)),
            _evaluation(record, reports, plots=[p for p in plots if p.name != LOSS_PLOT]),
            section("Limits", limits(templates, reports)),
        ),
        "### Framework Versions": tuple(_picture(p) for p in plots if p.name == LOSS_PLOT),
        "## Additional Resources": (lineage(version, record, earlier),),
    }
    text = correct(stock_card, record=record, templates=templates)
    for before, parts in sections.items():
        for part in parts:
            text = insert(text, part, before=before)
    return text


def evaluation_table(reports: Sequence[EvalReport], part: str = "all") -> str:
    """A Markdown table of a slice: a row for each report, a column for each metric.

    A cell is the figure and its 95 % interval; a metric that no report has is left out. `pairs`
    are those that the model reads.
    """
    metrics = [name for name in METRICS if any(report.metric(name, part) for report in reports)]
    rows = [
        [r.name, _pairs(r, part), *(_cell(r.metric(name, part)) for name in metrics)]
        for r in reports
    ]
    return table(["model", "pairs", *(METRICS[name] for name in metrics)], rows)


def slice_table(reports: Sequence[EvalReport], metric: str) -> str:
    """A Markdown table of a metric: a row for each slice that has it, a column for each report."""
    names = dict.fromkeys(s.name for r in reports for s in r.slices if metric in s.metrics)
    sizes = {s.name: s for r in reversed(reports) for s in r.slices}
    rows = [
        [
            f"`{name}`",
            *_sizes(sizes[name], metric),
            *(_cell(r.metric(metric, name)) for r in reports),
        ]
        for name in names
    ]
    return table(["slice", *SIZES[metric in SEARCH], *(r.name for r in reports)], rows)


def _evaluation(
    record: TrainingRecord, reports: Sequence[EvalReport], *, plots: Sequence[Path]
) -> str:
    if not reports:
        return section("Evaluation", "This version was not evaluated: no pairs were held out.")
    metrics = [name for name in COMPARED if reports[0].metric(name)]
    by_slice = [f"### {METRICS[name]} by slice\n\n{slice_table(reports, name)}" for name in metrics]
    body = (
        _held_out(record, reports),
        evaluation_table(reports),
        INTERVALS,
        _findings(reports, metrics),
        *by_slice,
        *(_picture(plot) for plot in plots),
    )
    return section("Evaluation", "\n\n".join(body))


def _held_out(record: TrainingRecord, reports: Sequence[EvalReport]) -> str:
    own, counts = reports[0], record.pairs
    left_out = (
        f" Of the training pairs, {counts.held_out_group:,} of a held-out group and "
        f"{counts.held_out_doi:,} that touch a held-out DOI were left out."
    )
    said = [
        f"The held-out set {short(own.held_out)} has {own.pairs:,} pairs. Their groups (the citing "
        "paper or the review that a pair came with) were held out whole."
        + (left_out if record.held_out == own.held_out else ""),
        f"Of the held-out pairs, {own.unread:,} can't be read by the model, because its templates "
        f"find no text on one side or both; {_seen(own)}.",
        *(_searched(part, own) for part in own.slices if part.name == "all"),
    ]
    return "\n\n".join(said)


def _seen(own: EvalReport) -> str:
    if own.seen is None:
        return "how many of them the model that it was made from has met is not known"
    return f"{own.seen:,} have a DOI that was in a training pair"


def _searched(whole: Slice, own: EvalReport) -> str:
    return (
        f"The figures of `all` are over {whole.pairs:,} pairs ({whole.positives:,} with label "
        f"1) of {whole.groups:,} groups; families that are reported apart are not in it. "
        f"{whole.queries:,} queries searched {own.corpus - own.unsearched:,} documents."
        + (UNSEARCHED.format(own.unsearched) if own.unsearched else "")
    )


def _findings(reports: Sequence[EvalReport], metrics: Sequence[str]) -> str:
    if len(reports) == 1:
        return ""
    lines = [f"- {METRICS[name]}: {_standing(reports, name)}." for name in metrics]
    return "\n".join(["Beside the baselines, this model is", "", *lines, "", CAUTION])


def _standing(reports: Sequence[EvalReport], metric: str) -> str:
    stands = [(_stand(reports[0], other, metric), other.name) for other in reports[1:]]
    kinds = dict.fromkeys(stand for stand, _ in stands)
    return "; ".join(f"{kind} {', '.join(n for s, n in stands if s == kind)}" for kind in kinds)


def _stand(own: EvalReport, other: EvalReport, metric: str) -> str:
    mine, theirs = own.metric(metric), other.metric(metric)
    if mine is None or theirs is None:
        return "not compared with"
    if mine.low > theirs.high:
        return "**better** than"
    return "**worse** than" if mine.high < theirs.low else "not clearly apart from"


def _drawings(
    record: TrainingRecord,
    reports: Sequence[EvalReport],
    *,
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
) -> dict[str, Drawing]:
    drawings: dict[str, Drawing] = {}
    if record.log:
        known = ORIGINAL_LOSS if record.name == ORIGINAL else None
        drawings[LOSS_PLOT] = partial(training_loss, record.log, reference=known)
    if any(report.metric(SEARCH[0]) for report in reports):
        drawings["ndcg_by_slice.png"] = partial(ndcg_by_slice, reports)
    if scores:
        own = next(iter(scores.values()))
        distributions = partial(score_distributions, own, labels)
        curves = partial(roc_and_precision_recall, scores, labels)
        drawings |= {"score_distributions.png": distributions}
        drawings |= {"roc_and_precision_recall.png": curves}
    return drawings


def _put(path: Path, write: Drawing) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".new-{path.name}")
    write(new)
    new.replace(path)


def _picture(path: Path) -> str:
    return f"![{CAPTIONS.get(path.name, path.stem)}]({path.as_posix()})"


def _pairs(report: EvalReport, part: str) -> str:
    return next((f"{s.pairs:,}" for s in report.slices if s.name == part), "–")


def _sizes(part: Slice, metric: str) -> list[str]:
    numbers = (part.groups, part.queries) if metric in SEARCH else (part.pairs, part.positives)
    return [f"{number:,}" for number in numbers]


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "–"
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
