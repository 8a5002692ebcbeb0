"""Held-out sets beside versions: what models trained on, and so which set can judge them."""

from collections.abc import Iterable, Iterator, Sequence

from schemas.model import fields_of, render
from schemas.pair import LabelledPair
from schemas.training import TrainingRecord
from trainer.data import split
from trainer.data.held_out import HeldOutSet
from trainer.data.proposal import propose
from trainer.data.split import NOTHING, Footprint, HeldOut
from trainer.errors import EvaluationError, HeldOutUnknown, PairsError, TrainingError
from trainer.records import read_records
from trainer.stores import Stores
from worker.model.origin import BASE

FIRST_SHARE = 0.1
ANEW = "none"
SHORT = 12


def freeze(
    stores: Stores,
    *,
    share: float,
    keep: Sequence[str] = (),
    begin: str | None = None,
    corpus: int = 50_000,
    renew: bool = False,
) -> HeldOutSet:
    """Hold groups out beside those that are already, and none that a version trained on.

    So what was judged can be judged on. `keep` are shards that must all train. `begin` is the set
    to begin with, by default the one in force; `none` begins with nothing, and regards no version.
    For `renew` see `renewed`. Raises `HeldOutUnknown`, `PairsError`, `ModelError`, and
    `TrainingError` where it isn't known what a version trained on.
    """
    if renew:
        return stores.held_out.keep(renewed(stores, share=share, keep=keep, corpus=corpus))
    is_anew = begin == ANEW
    before = NOTHING if is_anew else _before(stores, begin)
    found = propose(
        stores.pairs.dataset(),
        stores.metadata.documents(),
        share=share,
        keep=stores.pairs.dataset(keep).pairs if keep else (),
        before=before,
        trained=None if is_anew else _trained_by_any(stores),
        apart=stores.settings.pairs.apart,
        corpus=corpus,
    )
    since = stores.held_out.since(before.id) if isinstance(before, HeldOutSet) else None
    return stores.held_out.keep(found, since=since)


def renewed(
    stores: Stores, *, share: float, keep: Sequence[str] = (), corpus: int = 50_000
) -> HeldOutSet:
    """The set in force with fresh questions, not kept yet; raises as `freeze` does.

    Tested are groups alone that were never held out and that no version trained on: those that
    have waited since the set was frozen. What was held out stays so. Raises `PairsError` where
    they are fewer than the gate asks for.
    """
    found = propose(
        stores.pairs.dataset(),
        stores.metadata.documents(),
        share=share,
        keep=stores.pairs.dataset(keep).pairs if keep else (),
        before=stores.held_out.load(),
        trained=_trained_by_any(stores),
        renew=True,
        apart=stores.settings.pairs.apart,
        corpus=corpus,
    )
    fresh, least = len(split.groups_of(found.pairs)), stores.settings.gate.minimum_groups
    if fresh < least:
        raise PairsError(
            f"{fresh:,} fresh groups wait to be tested on, the gate asks for {least:,}: import "
            "more pairs first"
        )
    return found


def in_force(stores: Stores, *, templates: Sequence[str]) -> tuple[HeldOutSet, list[str]]:
    """The set frozen last, with the texts for these templates that are known by now.

    The first time, a tenth of every family's groups. Also says what was done. Raises `PairsError`,
    and `EvaluationError` where the set has no pair that the templates read.
    """
    told: list[str] = []
    try:
        frozen = stores.held_out.load()
    except HeldOutUnknown:
        frozen = freeze(stores, share=FIRST_SHARE)
        told.append(f"held out for good: {spread_words(stores.pairs.dataset().pairs, frozen)}")
    if any(set(fields_of(template)) - {"doi"} for template in templates):
        dois = {*frozen.documents, *(document.doi for document in frozen.corpus)}
        known = stores.metadata.documents(dois)
        renewed = stores.held_out.renew(frozen, known, templates=templates)
        if renewed.id != frozen.id:
            told.append(
                f"the held-out documents have texts that were not known when {frozen.id[:SHORT]} "
                f"was frozen: frozen again with them, as {renewed.id[:SHORT]}"
            )
        frozen = renewed
    _refuse_unread(frozen, templates)
    return frozen, told


def outdated(stores: Stores) -> str | None:
    """How far the held-out set in force tests on what was dropped or corrected since; or None."""
    try:
        frozen = stores.held_out.load()
    except HeldOutUnknown:
        return None
    labels = split.labels_of(frozen.pairs, stores.pairs.dataset().pairs)
    count = sum(label != pair.label for pair, label in labels)
    if not count:
        return None
    return (
        f"the held-out set {frozen.id[:SHORT]} tests on {count:,} pairs that are gone, or labelled "
        "otherwise by now: `doi-trainer pairs hold-out` takes that in"
    )


def spread_words(pairs: Iterable[LabelledPair], held_out: HeldOut) -> str:
    """How many groups of which source are held out."""
    found = split.spread(pairs, held_out)
    return ", ".join(f"{name} {held:,} of {groups:,} groups" for name, (held, groups) in found)


def trained_on(stores: Stores, records: Iterable[TrainingRecord]) -> Footprint:
    """What runs of these records trained on, and the runs before them in the lineage."""
    return _trained_by(stores, _lineage(stores, records))


def refuse_leaks(
    stores: Stores,
    name: str,
    records: Sequence[TrainingRecord],
    held_out: HeldOutSet,
) -> None:
    """Raise `EvaluationError`, with the way out, where a version trained on what is held out."""
    seen = split.touched(held_out.pairs, trained_on(stores, records))
    if seen:
        beside = records[-1].held_out[:SHORT]
        raise EvaluationError(
            f"{name} was trained on DOIs or groups of {seen:,} of the "
            f"{len(held_out.pairs):,} held-out pairs: neither it nor what is made from it can be "
            "judged on them. Hold out again what it was not trained on, with `doi-trainer pairs "
            f"hold-out --from {beside}`; or train from base, and promote by hand"
        )


def _before(stores: Stores, begin: str | None) -> HeldOut:
    try:
        return stores.held_out.load(begin)
    except HeldOutUnknown:
        if begin is not None:
            raise
        return NOTHING


def _trained_by_any(stores: Stores) -> Footprint:
    versions = (stores.registry.look(version)[0] for version in stores.registry.versions())
    records = [record for path in versions for record in read_records(path)]
    try:
        return _trained_by(stores, records)
    except (HeldOutUnknown, PairsError) as error:
        raise TrainingError(
            f"what a version was trained on is not known here: {error}; `--from {ANEW}` holds out "
            "without regard to versions"
        ) from error


def _trained_by(stores: Stores, records: Iterable[TrainingRecord]) -> Footprint:
    runs = {(record.shards, record.held_out) for record in records}
    return split.united(_footprint(stores, *run) for run in runs)


def _footprint(stores: Stores, shards: Sequence[str], held_out: str) -> Footprint:
    dataset = stores.pairs.dataset(shards, with_dropped=True)
    training = split.training_part(dataset.pairs, stores.held_out.load(held_out))
    return split.footprint(training.pairs)


def _lineage(stores: Stores, records: Iterable[TrainingRecord]) -> Iterator[TrainingRecord]:
    queue, met = list(records), {BASE}
    while queue:
        record = queue.pop()
        yield record
        if record.parent not in met:
            met.add(record.parent)
            queue.extend(read_records(stores.registry.get(record.parent)[0]))


def _refuse_unread(held_out: HeldOutSet, templates: Sequence[str]) -> None:
    read = {doi for doi, document in held_out.documents.items() if render(document, templates)}
    if not any(pair.doi_a in read and pair.doi_b in read for pair in held_out.pairs):
        raise EvaluationError(
            f"the held-out set {held_out.id[:SHORT]} can't judge a model that reads "
            f"{' | '.join(templates)}: none of its {len(held_out.pairs):,} pairs has such texts; "
            "`doi-trainer metadata import FILE` brings them"
        )
