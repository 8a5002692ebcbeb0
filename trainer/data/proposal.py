"""What is to be held out: the questions, and the documents that they are asked among."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from schemas.document import Document
from schemas.pair import LabelledPair
from trainer.data import split
from trainer.data.held_out import HeldOutSet, identified
from trainer.data.pairs import Dataset
from trainer.data.split import NOTHING, HeldOut, groups_of
from trainer.errors import PairsError


def propose(  # noqa: PLR0913 - each is a decision of the caller's
    dataset: Dataset,
    documents: Mapping[str, Document],
    *,
    share: float,
    keep: Collection[LabelledPair] = (),
    before: HeldOut = NOTHING,
    trained: Collection[LabelledPair] = (),
    renew: bool = False,
    apart: Sequence[str] = (),
    corpus: int = 50_000,
    searched: Sequence[str] = (),
) -> HeldOutSet:
    """A set that holds `share` (0 to 1) of the dataset's groups out, not kept yet.

    For `share`, `keep`, `before`, `trained`, `renew` see `trainer.data.split.hold_out`. The same
    `share` of groups that come later, at most half, waits for a renewal. The corpus has at most
    `corpus` of the other documents, none of which is known to belong with a held-out one: those
    with a title first, of these those in no pair of the dataset, each by SHA-256. They come from
    `documents`, the dataset, and the canonical DOIs in `searched`. Raises `PairsError` where
    nothing could be held out.
    """
    chosen = split.hold_out(
        dataset.pairs, share=share, keep=keep, before=before, trained=trained, renew=renew
    )
    if not chosen.pairs:
        raise PairsError(
            f"no pair can be held out: of {len(groups_of(dataset.pairs)):,} groups (what pairs "
            "came with) half must train, and those that are kept"
        )
    tested = list(dict.fromkeys(doi for p in chosen.pairs for doi in (p.doi_a, p.doi_b)))
    others = _others(dataset.pairs, {*documents, *searched}, tested=set(tested))
    known = [documents.get(doi) or Document(doi=doi) for doi in others]
    in_pairs = split.dois(dataset.pairs)
    reserve = min(share, 1 - split.LEAST_TRAINED)
    within = {group for group in groups_of(dataset.pairs) if split.is_within(group, reserve)}
    found = HeldOutSet(
        id="",
        dataset=dataset.version,
        groups=chosen.groups,
        apart=tuple(sorted(set(apart))),
        pairs=chosen.pairs,
        documents={doi: documents.get(doi) or Document(doi=doi) for doi in tested},
        corpus=sorted(known, key=lambda document: _rank(document, in_pairs))[:corpus],
        related=_related(dataset.pairs, chosen.pairs, tested=set(tested)),
        retired=chosen.retired,
        reserve=reserve,
        exempt=frozenset(within - chosen.groups),
    )
    return identified(found)


def _others(pairs: Iterable[LabelledPair], more: set[str], *, tested: set[str]) -> set[str]:
    """What may be searched beside `tested`: not what is known to belong with one of them.

    A document that a query cites, but whose pair is not held out, would count as a wrong answer.
    """
    related = {
        doi
        for pair in pairs
        if pair.label and (pair.doi_a in tested or pair.doi_b in tested)
        for doi in (pair.doi_a, pair.doi_b)
    }
    return (split.dois(pairs) | more) - tested - related


def _related(
    pairs: Iterable[LabelledPair], chosen: Iterable[LabelledPair], *, tested: set[str]
) -> tuple[tuple[str, str], ...]:
    known = {p.key for p in pairs if p.label and p.doi_a in tested and p.doi_b in tested}
    return tuple(sorted(known - {pair.key for pair in chosen}))


def _rank(document: Document, in_pairs: set[str]) -> tuple[bool, bool, bytes]:
    return document.title is None, document.doi in in_pairs, split.digest(document.doi)
