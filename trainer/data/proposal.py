"""What is to be held out: the questions, and the documents that they are asked among."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import nsmallest

from schemas.document import Document
from schemas.pair import LabelledPair
from trainer.data import split
from trainer.data.held_out import HeldOutSet, identified
from trainer.data.metadata import Documents
from trainer.data.pairs import Dataset
from trainer.data.selection import hold_out
from trainer.data.split import NOTHING, Footprint, HeldOut, groups_of
from trainer.data.table import Mask, Pairs
from trainer.errors import PairsError


def propose(  # noqa: PLR0913 - each is a decision of the caller's
    dataset: Dataset,
    documents: Mapping[str, Document],
    *,
    share: float,
    keep: Collection[LabelledPair] = (),
    before: HeldOut = NOTHING,
    trained: Footprint | None = None,
    renew: bool = False,
    apart: Sequence[str] = (),
    corpus: int = 50_000,
    searched: Sequence[str] = (),
) -> HeldOutSet:
    """A set that holds `share` (0 to 1) of the dataset's groups out, not kept yet.

    For `share`, `keep`, `before`, `trained`, `renew` see `selection.hold_out`. The same
    `share` of groups that come later, at most half, waits for a renewal. The corpus has at most
    `corpus` of the other documents, none of which is known to belong with a held-out one: those
    with a title first, of these those in no pair of the dataset, each by SHA-256. They come from
    `documents`, the dataset, and the canonical DOIs in `searched`. Raises `PairsError` where
    nothing could be held out.
    """
    rows = Pairs.of(dataset.pairs)
    chosen = hold_out(rows, share=share, keep=keep, before=before, trained=trained, renew=renew)
    groups = groups_of(rows)
    if not chosen.pairs:
        raise PairsError(
            f"no pair can be held out: of {len(groups):,} groups (what pairs came with) half must "
            "train, and those that are kept"
        )
    tested = list(dict.fromkeys(doi for p in chosen.pairs for doi in (p.doi_a, p.doi_b)))
    is_tested = rows.words.dois.among(tested)
    ranked = _ranked(rows, documents, searched=searched, is_tested=is_tested)
    reserve = min(share, 1 - split.LEAST_TRAINED)
    within = {group for group in groups if split.is_within(group, reserve)}
    found = HeldOutSet(
        id="",
        dataset=dataset.version,
        groups=chosen.groups,
        apart=tuple(sorted(set(apart))),
        pairs=chosen.pairs,
        documents=Documents.of(documents.get(doi) or Document(doi=doi) for doi in tested),
        corpus=[documents.get(doi) or Document(doi=doi) for *_, doi in nsmallest(corpus, ranked)],
        related=_related(rows, chosen.pairs, is_tested=is_tested),
        retired=chosen.retired,
        reserve=reserve,
        exempt=frozenset(within - chosen.groups),
    )
    return identified(found)


def _ranked(
    rows: Pairs,
    documents: Mapping[str, Document],
    *,
    searched: Iterable[str],
    is_tested: Mask,
) -> Iterator[tuple[bool, bool, bytes, str]]:
    """What may be searched beside what is tested, each DOI with its rank: the least come first.

    A document that a query cites, but whose pair is not held out, would count as a wrong answer.
    """
    belongs = rows.only((rows.label > 0) & rows.touching(is_tested)).used()
    used = rows.used()
    known = {doi for doi, document in documents.items() if document.title is not None}
    more = {*documents, *searched}
    for doi in rows.words.dois.only(used):
        more.discard(doi)
    for doi in rows.words.dois.only(used & ~is_tested & ~belongs):
        yield doi not in known, True, split.digest(doi), doi
    for doi in more:
        yield doi not in known, False, split.digest(doi), doi


def _related(
    rows: Pairs, chosen: Iterable[LabelledPair], *, is_tested: Mask
) -> tuple[tuple[str, str], ...]:
    both = is_tested[rows.doi_a] & is_tested[rows.doi_b] & (rows.label > 0)
    known = {pair.key for pair in rows.only(both)}
    return tuple(sorted(known - {pair.key for pair in chosen}))
