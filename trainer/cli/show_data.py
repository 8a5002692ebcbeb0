"""What a person sees of pairs, held-out sets and metadata: tables; or JSON for a program."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from schemas.job import NO_DOI
from trainer.cli.show import SHORT
from trainer.data.held_out import HeldOutSet
from trainer.data.metadata import MetadataReport
from trainer.data.pairs import Balance, ImportReport, Shard
from trainer.data.selection import wanted_of
from worker.cli.console import out, print_reading, print_rejections, say_json

if TYPE_CHECKING:
    from trainer.data.stats import Stats

Spread = list[tuple[str, tuple[int, int]]]
FEWER = (
    "fewer than asked: half of a source's groups and of all pairs must train, and so does what "
    "--keep names or a version was trained on (--from none disregards versions)"
)


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
        between = report.contradictions - report.corrected
        out.print(
            f"{report.contradictions:,} rows met the other label of their pair:"
            f" {report.corrected:,} correct what their source said before; of the other"
            f" {between:,} label 1 counts"
        )
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
    out.print(_shards(found.shards))


def shards(found: Sequence[Shard], *, as_json: bool) -> None:
    """The imports of pairs."""
    if as_json:
        say_json(_plain(found))
        return
    out.print(_shards(found))
    if found:
        out.print("to take one back: doi-trainer pairs drop SHARD")


def dropped(shard: Shard, *, as_json: bool) -> None:
    """An import that was taken back."""
    if as_json:
        say_json(_plain(shard))
        return
    out.print(f"dropped {shard.id[:SHORT]}: {shard.pairs:,} pairs of {', '.join(shard.files)}")


def _shards(found: Sequence[Shard]) -> Table:
    table = Table("shard", "pairs", "files", "imported")
    for shard in found:
        when = f"{shard.created_at:%Y-%m-%d %H:%M}"
        table.add_row(shard.id[:SHORT], f"{shard.pairs:,}", ", ".join(shard.files), when)
    return table


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
