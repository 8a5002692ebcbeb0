"""Held-out pairs and training pairs: no DOI and no group on both sides, whatever the input.

Connected components would give that too, but the largest one holds most of the pairs. So whole
groups are held out, and training drops what touches them.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np

from schemas.pair import LabelledPair
from trainer.data.table import Mask, Pairs, Places, Texts

SALT = "doivec held-out\0"
LEAST_TRAINED = 0.5
GROUP_PAIRS = 200


class HeldOut(Protocol):
    """What is held out: the chosen groups, and those of their pairs that a model is tested on."""

    @property
    def groups(self) -> frozenset[str]:
        """All chosen groups, those without a pair in `pairs` too."""

    @property
    def pairs(self) -> list[LabelledPair]:
        """The held-out pairs."""

    @property
    def retired(self) -> tuple[LabelledPair, ...]:
        """Pairs that were tested on before, and don't train either."""

    @property
    def reserve(self) -> float:
        """The share of the groups that came later which waits, untrained, for a renewal."""

    @property
    def exempt(self) -> frozenset[str]:
        """Groups that were known when it was chosen, and train though they are in that share."""


class Selection(NamedTuple):
    """Chosen groups, and of their pairs those to test on, in the order of the input."""

    groups: frozenset[str]
    pairs: list[LabelledPair]
    retired: tuple[LabelledPair, ...] = ()
    reserve: float = 0.0
    exempt: frozenset[str] = frozenset()


NOTHING = Selection(frozenset(), [])


class Footprint(NamedTuple):
    """The distinct DOIs and groups of some pairs, each once."""

    dois: Texts
    groups: Texts

    def met(self, dois: Texts | Collection[str]) -> set[str]:
        """Those of the DOIs that are in it."""
        return set(self.dois.only(self.dois.among(dois)))


class Training(NamedTuple):
    """Pairs to train on, in the order of the input, and how many were dropped for which reason."""

    pairs: Pairs
    group_dropped: int
    doi_dropped: int


def training_part(pairs: Iterable[LabelledPair], held_out: HeldOut) -> Training:
    """The pairs that share no group and no DOI with what is held out, or waits to be.

    `group_dropped` counts the pairs of a chosen or waiting group, `doi_dropped` those of other
    groups that touch a DOI which is, was, or waits to be tested on.
    """
    rows = Pairs.of(pairs)
    waits = rows.words.groups.among(waiting_groups(rows, held_out))
    is_out = (waits | rows.words.groups.among(held_out.groups))[rows.group]
    coming = rows.only(cap(rows, waits[rows.group], group_pairs=GROUP_PAIRS).rows)
    tested = rows.words.dois.among(dois(chain(held_out.pairs, held_out.retired)))
    is_free = ~is_out & ~rows.touching(tested | coming.used())
    dropped = int(np.count_nonzero(is_out))
    free = rows.only(is_free)
    return Training(free, dropped, len(rows) - dropped - len(free))


def waiting_groups(pairs: Iterable[LabelledPair], held_out: HeldOut) -> set[str]:
    """The groups that came after the set, and wait untrained for its renewal."""
    if not held_out.reserve:
        return set()
    new = groups_of(pairs) - held_out.groups - held_out.exempt
    return {group for group in new if is_within(group, held_out.reserve)}


def is_within(group: str, share: float) -> bool:
    """Whether a group is in a `share` (0 to 1) of all groups there are, or will be: by SHA-256."""
    return int.from_bytes(digest(group)) < share * 2**256


def dois(pairs: Iterable[LabelledPair]) -> set[str]:
    """All DOIs that stand in `pairs`, on either side."""
    return set(Pairs.of(pairs).dois())


def groups_of(pairs: Iterable[LabelledPair]) -> set[str]:
    """All groups that `pairs` are of."""
    return set(Pairs.of(pairs).group_names())


def footprint(pairs: Iterable[LabelledPair]) -> Footprint:
    """The DOIs and the groups of pairs, to be known again."""
    rows = Pairs.of(pairs)
    return Footprint(rows.dois(), rows.group_names())


def united(footprints: Iterable[Footprint]) -> Footprint:
    """What stands in any of them."""
    found = footprint(())
    for one in footprints:
        both = zip(found, one, strict=True)
        found = Footprint(*(mine.joined(theirs) for mine, theirs in both))
    return found


def spread(pairs: Iterable[LabelledPair], held_out: HeldOut) -> list[tuple[str, tuple[int, int]]]:
    """Of each family by name: how many of its groups are held out, and how many it has."""
    rows = Pairs.of(pairs)
    is_held = rows.words.groups.among(held_out.groups)
    return [
        (name, (int(np.count_nonzero(is_held[groups])), len(groups)))
        for name, groups in families(rows)
    ]


def touched(held_out: Iterable[LabelledPair], trained: Footprint) -> int:
    """How many held-out pairs share a DOI or a group with pairs that a model trained on."""
    rows = Pairs.of(held_out)
    groups = trained.groups.only(trained.groups.among(rows.words.groups))
    knows_group = rows.words.groups.among(groups)[rows.group]
    knows_doi = rows.touching(rows.words.dois.among(trained.met(rows.words.dois)))
    return int(np.count_nonzero(knows_group | knows_doi))


def digest(*parts: str) -> bytes:
    """The SHA-256 (32 bytes) by which groups, pairs and documents are put in an order of chance."""
    return sha256((SALT + "\0".join(parts)).encode()).digest()


class Tested(NamedTuple):
    """The places of pairs to test on, int64, by the code of their group: from `first`, `counts`."""

    rows: Places
    first: Places
    counts: Places

    def of(self, group: int) -> Places:
        """Those of a group."""
        return self.rows[self.first[group] : self.first[group] + self.counts[group]]


def labels_of(
    pairs: Sequence[LabelledPair], dataset: Sequence[LabelledPair]
) -> list[tuple[LabelledPair, int | None]]:
    """Each of the pairs with the label that it has in the dataset, None where that lacks it."""
    found = Pairs.of(dataset)
    found = found.only(found.having(Pairs.of(pairs)))
    labels = {pair.key: pair.label for pair in found}
    return [(pair, labels.get(pair.key)) for pair in pairs]


def families(rows: Pairs) -> list[tuple[str, Places]]:
    """The codes of each family's groups, by the families' names in order."""
    names, of_source = rows.families()
    size = max(len(rows.words.groups), 1)
    both = np.unique(of_source[rows.source].astype(np.int64) * size + rows.group)
    family, group = np.divmod(both, size)
    found = ((name, group[family == place]) for place, name in enumerate(names))
    return [(name, groups) for name, groups in found if len(groups)]


def cap(rows: Pairs, mask: Mask, *, group_pairs: int) -> Tested:
    """Of each group's pairs in the mask those to test on, by the SHA-256 of the pair."""
    places = np.flatnonzero(mask)
    places = places[np.argsort(rows.group[places], kind="stable")]
    counts = np.bincount(rows.group[places], minlength=len(rows.words.groups))
    first = np.cumsum(counts) - counts
    kept = np.minimum(counts, group_pairs)
    capped = np.arange(len(places)) - np.repeat(first, counts) < np.repeat(kept, counts)
    for group in np.flatnonzero(counts > group_pairs).tolist():
        own = slice(first[group], first[group] + counts[group])
        placed = zip(rows.only(places[own]), places[own].tolist(), strict=True)
        ordered = sorted(placed, key=lambda one: digest(*one[0].key))
        places[own] = [place for _, place in ordered]
    return Tested(places[capped], np.cumsum(kept) - kept, kept)
