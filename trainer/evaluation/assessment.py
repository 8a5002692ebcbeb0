"""Subjects on a held-out set: scores, reports, verdicts."""

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from schemas.evaluation import Anchor, Corpus, Difference, EvalReport, Verdict
from trainer.card import report
from trainer.data import split
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError, HeldOutUnknown, PairsError
from trainer.evaluation import comparison, evaluate, gate, own_queries
from trainer.evaluation.evaluate import Progress
from trainer.evaluation.scores import Scores
from trainer.evaluation.subjects import Subject, anchors, baselines, texts_digest
from trainer.records import EVALUATION, REPORTS
from trainer.stores import Stores
from trainer.training import judging
from worker.errors import EmbeddingError, ModelError
from worker.files import write_text
from worker.model.devices import pick_device
from worker.settings.training import GateSettings

log = logging.getLogger(__name__)
SHORT = 12
WAY_OUT = "train from base or from a version that was trained here, or promote it by hand"
MOST_ASKED = 52  # a year of weekly refines, see docs/models.md
VERSION = 64  # characters of its id; a baseline's name is shorter
SCORES_FORMAT = 2  # raised where queries are chosen or scored in another way


def scores(
    stores: Stores,
    subject: Subject,
    held_out: HeldOutSet,
    *,
    beside: Sequence[str] | None = None,
    on_progress: Progress | None = None,
) -> Scores:
    """The subject's scores on the set, computed once and kept; again where the file is no good.

    For `beside` see `evaluate.score`.
    """
    embed = stores.settings.embed
    kind = f"{SCORES_FORMAT}-{pick_device(embed.device)}-{embed.dtype}"
    name = subject.id if beside is None else f"{subject.id}-{texts_digest(beside)}"
    path = stores.root / "scores" / held_out.id / kind / f"{name}.npz"
    if (kept := _kept(path, subject, held_out)) is not None:
        return kept
    found = evaluate.score(
        subject.load(),
        held_out,
        templates=subject.templates,
        beside=beside,
        on_progress=on_progress,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save(path)
    return found


def _kept(path: Path, subject: Subject, held_out: HeldOutSet) -> Scores | None:
    if not path.exists():
        return None
    try:
        kept = Scores.load(path)
        evaluate.check(kept, held_out)
    except EvaluationError as error:
        log.warning("computed again: %s", error)
        return None
    return kept if kept.templates == subject.templates else None


def assess(
    stores: Stores, subject: Subject, held_out: HeldOutSet, *, on_progress: Progress | None = None
) -> EvalReport:
    """The subject's report on the set."""
    return evaluate.report(
        scores(stores, subject, held_out, on_progress=on_progress),
        held_out,
        subject=subject.id,
        name=subject.name,
        seen=None if subject.strangers else _seen(stores, subject, held_out),
    )


def ask(
    stores: Stores,
    subject: Subject,
    found: EvalReport,
    choice: own_queries.Choice,
    *,
    on_progress: Progress | None = None,
) -> EvalReport:
    """The subject's report, with its figures on a person's own queries; these aren't kept."""
    return own_queries.add(
        found,
        subject.load(),
        choice,
        templates=subject.templates,
        trained=judging.trained_on(stores, subject.records),
        on_progress=on_progress,
    )


def compare(
    stores: Stores,
    champion: Subject,
    challenger: Subject,
    held_out: HeldOutSet,
    *,
    rules: GateSettings,
    on_progress: Progress | None = None,
) -> Verdict:
    """The gate's verdict on two subjects; raises `EvaluationError` where one knows the answers."""
    for subject in (champion, challenger):
        _refuse_seen(stores, subject, held_out)
    corpus, found = _differences(
        stores, champion, challenger, held_out, parts=None, on_progress=on_progress
    )
    beside = list(
        _beside_anchors(
            stores, champion, challenger, held_out, rules=rules, on_progress=on_progress
        )
    )
    left_out = [one for one in beside if isinstance(one, gate.Finding)]
    return gate.decide(
        found,
        champion=champion.id,
        challenger=challenger.id,
        held_out=held_out.id,
        rules=rules,
        corpus=corpus,
        anchors=[one for one in beside if isinstance(one, Anchor)],
        others=[*_strangers(champion, challenger), *left_out],
    )


def _differences(
    stores: Stores,
    champion: Subject,
    challenger: Subject,
    held_out: HeldOutSet,
    *,
    parts: Collection[str] | None,
    on_progress: Progress | None,
) -> tuple[Corpus, list[Difference]]:
    corpus = comparison.shared_corpus(held_out, champion.templates, challenger.templates)
    found = [
        scores(
            stores,
            one,
            held_out,
            beside=None if corpus.is_same else other.templates,
            on_progress=on_progress,
        )
        for one, other in ((champion, challenger), (challenger, champion))
    ]
    return corpus, comparison.differences(found[0], found[1], held_out, only=parts)


def _strangers(champion: Subject, challenger: Subject) -> Iterator[gate.Finding]:
    """What a lineage that nobody knows means: a challenger may know no more than the champion."""
    if challenger.strangers - champion.strangers:
        yield gate.Finding(False, f"{_unknown(challenger)}: {WAY_OUT}.")
    elif champion.strangers:
        yield gate.Finding(True, f"{_unknown(champion)}: then it looks better than it is.")


def _unknown(subject: Subject) -> str:
    return (
        f"It isn't known what {subject.name} {subject.id[:SHORT]}, or what it was made from, was "
        "trained on, and so whether it knows the held-out pairs"
    )


def _beside_anchors(
    stores: Stores,
    champion: Subject,
    challenger: Subject,
    held_out: HeldOutSet,
    *,
    rules: GateSettings,
    on_progress: Progress | None,
) -> Iterator[Anchor | gate.Finding]:
    """Each anchor, or why one is left out: what is broken in old models holds up no new one."""
    for anchor in anchors(stores, champion, challenger) if rules.guards else ():
        name = f"{anchor.name} {anchor.id[:SHORT]} is no anchor"
        try:
            if _seen(stores, anchor, held_out):
                yield gate.Finding(True, f"{name}: it was trained on held-out pairs.")
                continue
            _, found = _differences(
                stores, anchor, challenger, held_out, parts=gate.GUARDED, on_progress=on_progress
            )
        except (EmbeddingError, HeldOutUnknown, ModelError, PairsError) as error:
            yield gate.Finding(True, f"{name}: {error}.")
            continue
        yield Anchor(subject=anchor.id, name=anchor.name, differences=tuple(found))


def wear(stores: Stores, held_out: HeldOutSet, *, now: datetime) -> str | None:
    """Why the set's questions are worn, with the way out; None where they are not.

    What is chosen by the same questions again and again begins to fit them.
    """
    days = (now - stores.held_out.since(held_out.id)).days
    scored = (stores.root / "scores" / held_out.id).rglob("*.npz")
    asked = len({path.name[:VERSION] for path in scored if len(path.stem) >= VERSION})
    if days < stores.settings.pairs.renew_days and asked <= MOST_ASKED:
        return None
    return (
        f"the held-out set {held_out.id[:SHORT]} is {days:,} days old, and {asked:,} models were "
        "judged on it: what is chosen on it begins to fit it; `doi-trainer pairs hold-out --renew` "
        "has fresh questions, where enough new pairs came"
    )


def check_parent(champion: Subject, parent: Subject) -> None:
    """Raise `EvaluationError` where what is trained from `parent` could only be refused."""
    if parent.strangers - champion.strangers:
        raise EvaluationError(f"{_unknown(parent)}: {WAY_OUT}")


def check_judges(
    stores: Stores,
    champion: Subject,
    held_out: HeldOutSet,
    *,
    templates: Sequence[str],
    rules: GateSettings,
) -> None:
    """See before hours of training that the gate could say yes to what reads by `templates`.

    Raises `EvaluationError`, with the way out, where the champion knows the answers, or where the
    set has too little that both read for the metrics of `rules`.
    """
    _refuse_seen(stores, champion, held_out)
    groups = comparison.judged(held_out, champion.templates, templates)
    needed = {rules.metric: rules.minimum_groups} | {
        metric: 1 for metric in rules.guards if metric != rules.metric
    }
    for metric, least in needed.items():
        if groups.get(metric, 0) < least:
            raise EvaluationError(
                f"the held-out set {held_out.id[:SHORT]} can't judge this: {metric} would be from "
                f"{groups.get(metric, 0):,} groups that both models read, the gate asks for "
                f"{least:,}. Import more pairs or metadata and `doi-trainer pairs hold-out` again, "
                "or ask less of the gate (DOIVEC_GATE__MINIMUM_GROUPS, _METRIC, _GUARDS)"
            )


def write_card(
    stores: Stores, subject: Subject, held_out: HeldOutSet, *, on_progress: Progress | None = None
) -> Sequence[EvalReport]:
    """Evaluate a trained version beside the baselines, and write its model card and plots.

    Returns the reports, the version's first. Raises `EvaluationError` for a version that was not
    trained here.
    """
    if not subject.runs or subject.path is None:
        raise EvaluationError(f"{subject.name} was not trained here: there is no card to write")
    beside = (subject, *baselines(stores, subject.templates))
    reports = [assess(stores, one, held_out, on_progress=on_progress) for one in beside]
    write_text(subject.path / EVALUATION, REPORTS.dump_json(reports, indent=1).decode())
    report.write_card(
        subject.path,
        stock_card=subject.runs[-1].stock_card.read_text("utf-8"),
        version=subject.id,
        templates=subject.templates,
        record=subject.records[-1],
        earlier=subject.records[:-1],
        reports=reports,
        scores={one.name: scores(stores, one, held_out).cosine for one in beside},
        labels=[pair.label for pair in held_out.pairs],
    )
    return reports


def _seen(stores: Stores, subject: Subject, held_out: HeldOutSet) -> int:
    return split.touched(held_out.pairs, judging.trained_on(stores, subject.records))


def _refuse_seen(stores: Stores, subject: Subject, held_out: HeldOutSet) -> None:
    if subject.records:
        name = f"{subject.name} {subject.id[:SHORT]}"
        judging.refuse_leaks(stores, name, subject.records, held_out)
