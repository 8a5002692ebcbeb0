"""What a person sees of the trainer: tables, verdicts; or JSON for a program."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.table import Column, Table

from schemas.evaluation import EvalReport, Slice, Verdict
from schemas.job import NO_DOI
from trainer.card.lineage import flat
from trainer.data.held_out import HeldOutSet
from trainer.data.metadata import MetadataReport
from trainer.data.pairs import Balance, ImportReport
from trainer.data.split import wanted_of
from trainer.records import Version
from worker.cli.console import err, out, print_reading, print_rejections, say_json
from worker.settings import Metric

if TYPE_CHECKING:
    from trainer.data.stats import Stats
    from trainer.training.runs import Plan

SHORT = 12
Spread = list[tuple[str, tuple[int, int]]]
FEWER = (
    "fewer than asked: half of a source's groups and of all pairs must train, and so does what "
    "--keep names or a version was trained on (--from none disregards versions)"
)
LONGEST_NAME = 32  # of a baseline; a version's has 64


def pairs_report(report: ImportReport, *, dry_run: bool, as_json: bool) -> None:
    """What an import did, or would do, and how it shifts the balance."""
    if as_json:
        say_json({**_plain(report), "dry_run": dry_run})
        return
    print_rejections(report.rejected, len(report.rejected))
    done = "would be added" if dry_run else "added"
    overruled = report.read - report.new - report.repeated - len(report.rejected)
    out.print(
        f"read {report.read:,} = new {report.new:,} ({done}) + repeated {report.repeated:,}"
        f" + overruled {overruled:,} + rejected {len(report.rejected):,}"
    )
    if report.contradictions:
        out.print(f"{report.contradictions:,} pairs have both labels: label 1 counts")
    print_reading(report.reading)
    out.print(f"shard {report.shard[:SHORT]}" if report.shard else "no new shard")
    out.print(_shift(report.before, report.after))


def metadata_report(report: MetadataReport, *, as_json: bool) -> None:
    """What an import of metadata did."""
    if as_json:
        say_json(_plain(report))
        return
    invalid = [rejection for rejection in report.rejected if rejection.reason != NO_DOI]
    without_doi = len(report.rejected) - len(invalid)
    print_rejections(invalid, len(invalid))
    out.print(
        f"read {report.read:,} = added {report.added:,} + repeated {report.repeated:,} + bare DOIs"
        f" {report.bare:,} + invalid {len(invalid):,} + without a DOI {without_doi:,}"
    )
    print_reading(report.reading, without_doi=without_doi)


def stats(found: "Stats", *, as_json: bool) -> None:
    """What the store of pairs holds."""
    if as_json:
        say_json(_plain(found))
        return
    counts = found.balance
    out.print(f"dataset {found.dataset[:SHORT]}: {counts.pairs:,} pairs of {found.dois:,} DOIs")
    out.print(f"label 1: {counts.positives:,} ({counts.positive_share:.1%})")
    out.print(f"{found.groups:,} groups, the largest of {found.largest_group:,} pairs")
    out.print(f"{found.titled:,} DOIs have a title")
    sources = Table("source", "label", "pairs")
    for name, count in found.sources.items():
        sources.add_row(*name.rsplit("=", 1), f"{count:,}")
    out.print(sources)
    tokens = Table("texts", "tokens min", "mean", "max", "without a text")
    for column, n in found.lengths.items():
        tokens.add_row(column, f"{n.least}", f"{n.mean:.2f}", f"{n.most}", f"{n.unread:,}")
    out.print(tokens)
    shards = Table("shard", "pairs", "files", "imported")
    for shard in found.shards:
        when = f"{shard.created_at:%Y-%m-%d %H:%M}"
        shards.add_row(shard.id[:SHORT], f"{shard.pairs:,}", ", ".join(shard.files), when)
    out.print(shards)


def held_out(found: HeldOutSet, spread: Spread, *, share: float, as_json: bool) -> None:
    """What was frozen, and how many groups that is of each source."""
    positives = sum(pair.label for pair in found.pairs)
    facts = {
        "id": found.id,
        "dataset": found.dataset,
        "pairs": len(found.pairs),
        "positives": positives,
        "groups": len(found.groups),
        "documents": len(found.documents),
        "corpus": len(found.corpus),
        "apart": list(found.apart),
        "sources": {name: {"held_out": held, "groups": n} for name, (held, n) in spread},
    }
    if as_json:
        say_json(facts)
    else:
        for name, (held, groups) in spread:
            out.print(f"{name}: {held:,} of {groups:,} groups")
        if any(held < wanted_of(groups, share) for _, (held, groups) in spread):
            out.print(FEWER)
        out.print(
            f"held out {found.id[:SHORT]}: {len(found.pairs):,} pairs ({positives:,} with label 1)"
            f" of {len(found.groups):,} groups, {len(found.documents):,} documents"
            f" and {len(found.corpus):,} others to search in"
        )


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


def reports(found: Sequence[EvalReport], *, as_json: bool) -> None:
    """A table of subjects, over all and slice by slice."""
    if as_json:
        say_json([report.model_dump(mode="json") for report in found])
        return
    for part in dict.fromkeys(part.name for report in found for part in report.slices):
        rows = [(report, s) for report in found for s in report.slices if s.name == part]
        out.print(_evaluation(part, rows))
    first = found[0]
    out.print(
        f"held out {first.held_out[:SHORT]}: {first.pairs:,} pairs; {first.corpus:,} documents"
        " searched; 95 % intervals from a bootstrap over groups"
    )
    for report in found:
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


def trained(version: str, path: Path, found: Sequence[EvalReport], *, as_json: bool) -> None:
    """What a training run made: its version, where it is, how good it is."""
    if as_json:
        evaluation = [report.model_dump(mode="json") for report in found]
        say_json({"version": version, "path": str(path), "evaluation": evaluation})
        return
    reports(found, as_json=False)
    out.print(f"registered {version}")
    out.print(f"model card: {path}/README.md")


def verdict(found: Verdict, *, as_json: bool) -> None:
    """The gate's decision with its reasons."""
    if as_json:
        say_json(found.model_dump(mode="json"))
        return
    says = "promote" if found.promote else "refuse"
    out.print(f"{says}: {found.challenger[:SHORT]} in place of {found.champion[:SHORT]}")
    for reason in found.reasons:
        out.print(f"- {reason}")


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
    log = training.pop("log", [])
    for name, value in [*flat(account), *flat(training)]:
        out.print(f"{name}: {value}")
    for other in earlier:
        out.print(f"also made by the run of {other['started_at']}:")
        for name, value in flat(other):
            if name != "log" and value != dict(flat(training)).get(name):
                out.print(f"  {name}: {value}")
    for point in log:
        out.print(f"loss at step {point['step']}: {point['loss']:.4f}")
    for name, digest in files.items():
        out.print(f"file {name}: {digest}")
    if one.reports:
        reports(one.reports, as_json=False)


def _evaluation(part: str, rows: Sequence[tuple[EvalReport, Slice]]) -> Table:
    counts = rows[0][1]
    title = (
        f"{part}: {counts.pairs:,} pairs of {counts.groups:,} groups, {counts.queries:,} queries"
    )
    table = Table("metric", title=title, title_justify="left")
    for report, _ in rows:
        is_version = len(report.subject) > LONGEST_NAME
        table.add_column(f"{report.name} {report.subject[:8]}" if is_version else report.name)
    for metric in get_args(Metric):
        found = [part.metrics.get(metric) for _, part in rows]
        cells = (f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" if e else "" for e in found)
        if any(found):
            table.add_row(metric, *cells)
    return table


def _shift(before: Balance, after: Balance) -> Table:
    table = Table("of all pairs", "before", "after")
    table.add_row("pairs", f"{before.pairs:,}", f"{after.pairs:,}")
    table.add_row("label 1", f"{before.positive_share:.1%}", f"{after.positive_share:.1%}")
    for family in after.families:
        shares = (balance.family_share(family) for balance in (before, after))
        table.add_row(family, *(f"{share:.1%}" for share in shares))
    return table


def _plain(value: Any) -> Any:
    """Named tuples as objects, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
