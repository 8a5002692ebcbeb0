"""What a person sees of the trainer: tables, verdicts; or JSON for a program."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.table import Column, Table

from schemas.evaluation import EvalReport, OwnQueries, Slice, Verdict
from trainer.card.lineage import flat
from trainer.records import Version
from worker.cli.console import err, out, say_json
from worker.model.origin import BASE
from worker.settings.training import Metric

if TYPE_CHECKING:
    from trainer.training.runs import Plan

SHORT = 12
WHOLE, OWN = "all", "own queries"
DECIDING = {
    "nDCG@10": ("ndcg@10", WHOLE),
    "ROC AUC": ("roc_auc", WHOLE),
    "beside random documents": ("roc_auc", "random"),
}
LONGEST_NAME = 32  # of a baseline; a version's has 64


def plan(found: "Plan") -> None:
    """What a run trains on, on standard error."""
    made, dropped = found.examples, found.training
    for words in found.told:
        err.print(words)
    err.print(
        f"recipe {found.recipe.name} from {found.parent.name[:SHORT]}: {made.trained:,} pairs"
        f" ({made.positives:,} with label 1)"
    )
    err.print(
        f"left out: {dropped.group_dropped:,} of held-out groups, {dropped.doi_dropped:,} that"
        f" touch a held-out DOI, {made.unread:,} without a text"
    )
    others = len(dropped.pairs) - made.overlapping
    read = others - made.unread
    if made.developed:
        err.print(
            f"training stops by {made.developed:,} pairs of groups set apart; {made.overlapping:,}"
            " others of these groups have a DOI that is trained on"
        )
    err.print(f"{read:,} of the {others:,} others have a text on both sides: {read / others:.0%}")


def reports(found: Sequence[EvalReport], *, full: bool) -> None:
    """A table of subjects over all, and slice by slice where `full`."""
    for part in dict.fromkeys(part.name for report in found for part in report.slices):
        rows = [(report, s) for report in found for s in report.slices if s.name == part]
        if full or part in {WHOLE, OWN}:
            out.print(_evaluation(part, rows))
    first = found[0]
    out.print(
        f"held out {first.held_out[:SHORT]}: {first.pairs:,} pairs; {first.corpus:,} documents"
        " searched; 95 % intervals from a bootstrap over groups"
    )
    for report in found:
        _cautions(report)


def evaluated(found: Sequence[EvalReport], *, full: bool, as_json: bool) -> None:
    """What an evaluation found: how each version stands beside the base model, then tables."""
    if as_json:
        say_json([report.model_dump(mode="json") for report in found])
        return
    versions = [r for r in found if len(r.subject) > LONGEST_NAME and r.name != BASE]
    for report in versions:
        _stands(report, found)
    reports(found, full=full)
    if versions:
        out.print(f"next: doi-trainer compare {BASE} {versions[0].subject[:SHORT]}")
    if not full:
        out.print("slice by slice: the same with --full")


def trained(
    version: str,
    path: Path,
    found: Sequence[EvalReport],
    *,
    kept: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """What a training run made: its version, how good it is, where it is."""
    if as_json:
        evaluation = [report.model_dump(mode="json") for report in found]
        say_json({"version": version, "path": str(path), "evaluation": evaluation})
        return
    out.print(f"registered {version[:SHORT]}")
    if kept:
        out.print(f"kept weights: {kept}")
    out.print(f"model card: {path}/README.md")
    evaluated(found, full=full, as_json=False)


def verdicts(found: Sequence[Verdict], *, full: bool, as_json: bool) -> None:
    """The gate's decisions; as JSON, a list where there are several."""
    if as_json:
        plain = [one.model_dump(mode="json") for one in found]
        say_json(plain[0] if len(plain) == 1 else plain)
        return
    for one in found:
        _verdict(one, full=full)


def _verdict(found: Verdict, *, full: bool) -> None:
    """A decision with its reasons, those that refuse first."""
    says = "promote" if found.promote else "refuse"
    out.print(f"{says}: {found.challenger[:SHORT]} in place of {found.champion[:SHORT]}")
    for reason in found.reasons:
        out.print(f"- {reason}")
    if full:
        out.print(_differences(found))
    new = found.challenger[:SHORT]
    after = f"promote {new} --dry-run" if found.promote else f"evaluate {new} --full"
    out.print(f"next: doi-trainer {after}")


def versions(found: Iterable[Version], *, as_json: bool) -> None:
    """The registered versions, those that were trained here with their nDCG."""
    if as_json:
        say_json([one.account for one in found])
        return
    table = Table(
        Column("version", no_wrap=True), "name", "templates", Column("from", no_wrap=True)
    )
    for column in ("trained", "nDCG@10", "on"):
        table.add_column(column, no_wrap=column != "trained")
    for one in found:
        best = one.reports[0].metric("ndcg@10") if one.reports else None
        table.add_row(
            one.manifest.version[:SHORT],
            one.manifest.name,
            " | ".join(one.manifest.templates),
            one.record.parent[:SHORT] if one.record else "",
            f"{one.record.started_at:%Y-%m-%d %H:%M}" if one.record else "",
            f"{best.value:.3f}" if best else "",
            one.reports[0].held_out[:SHORT] if one.reports else "",
        )
    out.print(table)


def pushed(version: str, place: str, *, as_json: bool) -> None:
    """Where a version was brought."""
    if as_json:
        say_json({"version": version, "path": place})
        return
    out.print(f"{version[:SHORT]} is in {place}", markup=False)


def version(one: Version, *, as_json: bool) -> None:
    """All that is known of a version."""
    if as_json:
        say_json(one.account)
        return
    account = one.account
    training = account.pop("training") or {}
    files = account.pop("files")
    account.pop("evaluation")
    earlier = account.pop("earlier")
    log, apart = training.pop("log", []), training.pop("development", [])
    for name, value in [*flat(account), *flat(training)]:
        out.print(f"{name}: {value}")
    for other in earlier:
        out.print(f"also made by the run of {other['started_at']}:")
        for name, value in flat(other):
            if name not in {"log", "development"} and value != dict(flat(training)).get(name):
                out.print(f"  {name}: {value}")
    for point in log:
        out.print(f"loss at step {point['step']}: {point['loss']:.4f}")
    for point in apart:
        out.print(f"development loss at step {point['step']}: {point['loss']:.4f}")
    for name, digest in files.items():
        out.print(f"file {name}: {digest}")
    if one.reports:
        reports(one.reports, full=True)


def _stands(own: EvalReport, found: Sequence[EvalReport]) -> None:
    """A line: the figures that decide, in brackets those of the base model that reads the same."""
    place = found.index(own)  # its baselines stand behind it, or before, where others share them
    nearest = (*found[place:], *found[:place][::-1])
    base = next((report for report in nearest if report.name == BASE), None)
    figures = []
    for name, (metric, part) in DECIDING.items():
        mine, theirs = (r and r.metric(metric, part) for r in (own, base))
        if mine:
            beside = f" ({theirs.value:.3f})" if theirs else ""
            figures.append(f"{name} {mine.value:.3f}{beside}")
    said = "; ".join(figures) or "nothing could be measured"
    out.print(f"{own.name} {own.subject[:SHORT]}, in brackets the base model: {said}")


def _cautions(report: EvalReport) -> None:
    if report.own:
        out.print(_of_own(report.name, report.own))
    if report.unread or report.seen:
        out.print(
            f"{report.name}: {report.unread:,} pairs not read for want of a text,"
            f" {report.seen or 0:,} touch a DOI of its training"
        )
    if report.seen is None:
        out.print(f"{report.name}: it isn't known which of the pairs it was trained on")
    if report.unsearched:
        out.print(
            f"{report.name}: {report.unsearched:,} of the documents have no text for it and"
            " are not searched: that flatters its search figures; `doi-trainer compare` has"
            " both models search the same"
        )


def _of_own(name: str, own: OwnQueries) -> str:
    lacking = (
        (own.unknown, "can't be judged, for no title is known of them or of what they should find"),
        (own.unread, "have no text for it"),
        (own.seen or 0, "have a DOI of its training"),
    )
    words = [f"{count:,} {what}" for count, what in lacking if count]
    if own.relevant_unknown:
        lost = f"{own.relevant_unknown:,} of {own.relevant:,} DOIs that should be found"
        words.append(f"{lost} are no answers, for no title is known of them")
    said = f"{name}: {own.judged:,} of {own.queries:,} own queries judged"
    return "; ".join([f"{said} among {own.searched:,} documents", *words])


def _differences(found: Verdict) -> Table:
    table = Table("metric", "slice", "champion", "challenger", "difference", "groups")
    for one in found.differences:
        change = one.difference
        table.add_row(
            one.metric,
            one.part,
            f"{one.champion:.3f}",
            f"{one.challenger:.3f}",
            f"{change.value:+.3f} ({change.low:+.3f} to {change.high:+.3f})",
            f"{one.groups:,}",
        )
    return table


def _evaluation(part: str, rows: Sequence[tuple[EvalReport, Slice]]) -> Table:
    counts = rows[0][1]
    queries = f"{counts.queries:,} queries"
    if part != OWN:
        queries = f"{counts.pairs:,} pairs of {counts.groups:,} groups, {queries}"
    table = Table("metric", title=f"{part}: {queries}", title_justify="left")
    for report, _ in rows:
        is_version = len(report.subject) > LONGEST_NAME
        table.add_column(f"{report.name} {report.subject[:8]}" if is_version else report.name)
    for metric in get_args(Metric):
        found = [part.metrics.get(metric) for _, part in rows]
        cells = (f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" if e else "" for e in found)
        if any(found):
            table.add_row(metric, *cells)
    return table
