"""Subjects (versions, the base model, baselines) on a held-out set: scores, reports, verdicts."""

import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from schemas.evaluation import EvalReport, Verdict
from schemas.training import TrainingRecord
from trainer.card import report
from trainer.data import split
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError
from trainer.evaluation import comparison, evaluate, gate
from trainer.evaluation.baselines import Prefix, Trigrams
from trainer.evaluation.evaluate import Encoder, Progress
from trainer.evaluation.scores import Scores
from trainer.records import EVALUATION, REPORTS, Run, read_runs
from trainer.stores import Stores
from trainer.training import judging
from worker.files import write_text
from worker.model.embedder import Embedder
from worker.model.origin import BASE, resolve_source
from worker.model.registry import identify
from worker.settings import GateSettings

log = logging.getLogger(__name__)
SHORT = 12
SCORES_FORMAT = 2  # raised where queries are chosen or scored in another way


class Subject(NamedTuple):
    """What is evaluated: its id and name, the templates it reads by, how it is loaded."""

    id: str
    name: str
    templates: tuple[str, ...]
    load: Callable[[], Encoder]
    runs: tuple[Run, ...] = ()
    path: Path | None = None

    @property
    def records(self) -> list[TrainingRecord]:
        """The provenance of each run that made it, the last one last."""
        return [run.record for run in self.runs]


def version_subject(stores: Stores, version: str) -> Subject:
    """A registered version, by its id or a prefix; raises `ModelError`."""
    path, manifest = stores.registry.get(version)
    embed = stores.settings.embed

    def load() -> Encoder:
        embedder = Embedder.load(
            path, device=embed.device, dtype=embed.dtype, threads=embed.threads
        )
        embedder.check_canaries(manifest)
        return embedder

    runs = tuple(read_runs(path))
    name = runs[-1].record.name if runs else manifest.name
    return Subject(manifest.version, name, manifest.templates, load, runs, path)


def find(stores: Stores, name: str) -> Subject:
    """The version of this name or prefix; `base` reads as the settings say. Raises `ModelError`."""
    if name == BASE:
        return base_subject(stores, stores.settings.model.templates)
    return version_subject(stores, name)


def opponents(stores: Stores, champion: str, challenger: str) -> tuple[Subject, Subject]:
    """Two subjects; one that is `base` reads the texts that the other one reads."""
    names = (champion, challenger)
    known = {name: version_subject(stores, name) for name in names if name != BASE}
    templates = next(
        (subject.templates for subject in known.values()), stores.settings.model.templates
    )
    first, second = (known.get(name) or base_subject(stores, templates) for name in names)
    return first, second


def base_subject(stores: Stores, templates: tuple[str, ...]) -> Subject:
    """The base model, reading by these templates."""
    path, embed = resolve_source(BASE), stores.settings.embed
    return Subject(
        identify(path, templates=templates),
        BASE,
        templates,
        lambda: Embedder.load(path, device=embed.device, dtype=embed.dtype, threads=embed.threads),
    )


def baselines(stores: Stores, templates: tuple[str, ...]) -> tuple[Subject, ...]:
    """What stands beside a model that reads by `templates`: base model, trigrams, prefix."""
    return (
        base_subject(stores, templates),
        Subject(f"trigrams-{_short_digest(templates)}", "trigrams", templates, Trigrams),
        Subject("prefix", "prefix", Prefix.templates, Prefix),
    )


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
    kind = f"{SCORES_FORMAT}-{embed.device}-{embed.dtype}"
    name = subject.id if beside is None else f"{subject.id}-{_short_digest(beside)}"
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


def _short_digest(templates: Sequence[str]) -> str:
    return sha256("\0".join(templates).encode()).hexdigest()[:16]


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
        seen=_seen(stores, subject, held_out),
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
    return gate.decide(
        comparison.differences(found[0], found[1], held_out),
        champion=champion.id,
        challenger=challenger.id,
        held_out=held_out.id,
        rules=rules,
        corpus=corpus,
    )


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
    return split.touched(held_out.pairs, judging.trained_pairs(stores, subject.records))


def _refuse_seen(stores: Stores, subject: Subject, held_out: HeldOutSet) -> None:
    if subject.records:
        name = f"{subject.name} {subject.id[:SHORT]}"
        judging.refuse_leaks(stores, name, subject.records, held_out)
