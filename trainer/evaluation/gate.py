"""The gate: differences between a champion and a challenger in, a decision with reasons out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from schemas.evaluation import Anchor, Corpus, Difference, Verdict
from trainer.evaluation.randoms import RANDOM
from worker.settings.training import GateSettings

WHOLE = "all"
SHORT = 12
EASY = {"random_roc_auc": ("roc_auc", RANDOM)}  # guards of another slice than `all`
GUARDED = frozenset({WHOLE, RANDOM})


class Finding(NamedTuple):
    """A rule that was looked at: whether it is kept, and what was seen."""

    kept: bool
    reason: str


def decide(  # noqa: PLR0913 - all that a decision rests on
    differences: Sequence[Difference],
    *,
    champion: str,
    challenger: str,
    held_out: str,
    rules: GateSettings,
    corpus: Corpus | None = None,
    anchors: Sequence[Anchor] = (),
    others: Sequence[Finding] = (),
) -> Verdict:
    """Promote the challenger or not; pure. `others` are rules that figures don't decide.

    The metric of `rules` must be better on `all`, the 95 % interval of its paired difference
    above zero, in at least `minimum_groups` groups. Each guarded metric may fall on `all`
    (`random_roc_auc`: on `random`) by its margin at the most: there the point value counts, for
    over all groups it is known well, and an uncertain fall is no excuse. The same holds beside each
    of the `anchors`: else many promotions, each within the margin, could go down any way. In a
    slice with at least `minimum_groups` groups the metric and the guarded ones may fall by
    `slice_margin`: there a fall counts when the whole interval lies below it, for of a dozen small
    slices one falls by chance in every comparison.

    `differences` are those of `comparison.differences`, found in searching `corpus`. What was not
    measured is not passed, neither is a figure that is not a number. Each rule gives a reason,
    kept or broken.
    """
    whole = [d for d in differences if d.part == WHOLE]
    findings = [
        *_better(whole, rules),
        *_guarded(differences, rules),
        *_anchored(anchors, rules),
        *others,
        *_coverage(whole),
        *_searched(corpus),
        *_slices([d for d in differences if d.part != WHOLE], rules),
    ]
    findings.sort(key=lambda finding: finding.kept)  # what refuses comes first
    return Verdict(
        promote=all(finding.kept for finding in findings),
        champion=champion,
        challenger=challenger,
        held_out=held_out,
        reasons=tuple(finding.reason for finding in findings),
        differences=tuple(differences),
        corpus=corpus,
        anchors=tuple(anchors),
    )


def _better(whole: Sequence[Difference], rules: GateSettings) -> Iterator[Finding]:
    measured = [d for d in whole if d.metric == rules.metric]
    if not measured:
        yield Finding(False, f"{rules.metric} was not measured on both.")
    for found in measured:
        better = found.difference.value > 0 and found.difference.low > 0
        says = "better by more than chance" if better else "not better by more than chance"
        says = "worse by more than chance" if found.difference.high < 0 else says
        yield Finding(better, f"{_figures(found)}: {says}.")
        enough = found.groups >= rules.minimum_groups
        says = f"{rules.minimum_groups} are required"
        yield Finding(enough, f"{found.metric} is from {found.groups} groups; {says}.")


def _guarded(differences: Sequence[Difference], rules: GateSettings) -> Iterator[Finding]:
    for guard, margin in rules.guards.items():
        measured = list(_measured(differences, guard))
        if not measured:
            yield Finding(False, f"{guard} is guarded, but was not measured on both.")
        for found in measured:
            kept = found.difference.value >= -margin
            says = f"{'within' if kept else 'worse by more than'} the margin of {margin:g}"
            says = "not worse" if found.difference.value >= 0 else says
            yield Finding(kept, f"{_figures(found)}: {says}.")


def _measured(differences: Sequence[Difference], guard: str) -> Iterator[Difference]:
    metric, part = EASY.get(guard, (guard, WHOLE))
    return (d for d in differences if (d.metric, d.part) == (metric, part))


def _anchored(anchors: Sequence[Anchor], rules: GateSettings) -> Iterator[Finding]:
    fallen = [
        (anchor, found, margin)
        for anchor in anchors
        for guard, margin in rules.guards.items()
        for found in _measured(anchor.differences, guard)
        if not found.difference.value >= -margin
    ]
    for anchor, found, margin in fallen:
        beside = f"Beside the anchor {_named(anchor)}, {_figures(found)}"
        yield Finding(False, f"{beside}: worse by more than the margin of {margin:g}.")
    held = [a for a in anchors if any(any(_measured(a.differences, g)) for g in rules.guards)]
    if held and not fallen:
        names = ", ".join(map(_named, held))
        yield Finding(True, f"No guard falls by more than its margin beside the anchors: {names}.")


def _named(anchor: Anchor) -> str:
    return f"{anchor.name} {anchor.subject[:SHORT]}"


def _coverage(whole: Sequence[Difference]) -> Iterator[Finding]:
    # No guard: which records of the collection a model can't read is for the promotion to count.
    for found in (d for d in whole if d.metric == "read" and d.challenger < d.champion):
        yield Finding(
            True,
            f"The challenger's templates cover {found.challenger:.1%} of the pairs, the champion's "
            f"{found.champion:.1%}; both are judged on those that both read.",
        )


def _searched(corpus: Corpus | None) -> Iterator[Finding]:
    if corpus is not None and corpus.searched < corpus.documents:
        yield Finding(
            True,
            f"Both search the {corpus.searched:,} of {corpus.documents:,} documents that both "
            f"read: the challenger can't read {corpus.challenger_unread:,}, the champion "
            f"{corpus.champion_unread:,}.",
        )


def _slices(parts: Sequence[Difference], rules: GateSettings) -> Iterator[Finding]:
    judged = [d for d in parts if d.metric == rules.metric or d.metric in rules.guards]
    small = sorted({d.part for d in judged if d.groups < rules.minimum_groups})
    large = [d for d in judged if d.groups >= rules.minimum_groups]
    fallen = [d for d in large if not d.difference.high >= -rules.slice_margin]
    for found in fallen:
        says = f"worse by more than the margin of {rules.slice_margin:g}"
        yield Finding(False, f"{_figures(found)}: {says}.")
    if large and not fallen:
        slices, margin = len({d.part for d in large}), rules.slice_margin
        yield Finding(True, f"No metric in {slices} slices is worse by more than {margin:g}.")
    if small:
        says = f"fewer than {rules.minimum_groups} groups"
        yield Finding(True, f"Not judged in full, for they have {says}: {', '.join(small)}.")


def _figures(found: Difference) -> str:
    change = found.difference
    return (
        f"{found.metric} on {found.part} goes from {found.champion:.3f} to {found.challenger:.3f} "
        f"({change.value:+.3f}, 95 % interval {change.low:+.3f} to {change.high:+.3f})"
    )
