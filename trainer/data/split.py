"""Held-out pairs and training pairs: no DOI and no group on both sides, whatever the input.

Connected components would give that too, but the largest one holds most of the pairs. So whole
groups are held out, and training drops what touches them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import chain
from math import ceil
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.pair import LabelledPair
from trainer.data.table import Mask, Pairs, Places, Texts, Where

SALT = "doivec held-out\0"
# 0.07 * 100 is 7.000000000000001: without rounding, eight groups of a hundred.
SHARE_DIGITS = 9
LEAST_TRAINED = 0.5
GROUP_PAIRS = 200
NONE = np.empty(0, np.int64)


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


def hold_out(
    pairs: Sequence[LabelledPair],
    *,
    share: float,
    keep: Collection[LabelledPair] = (),
    before: HeldOut = NOTHING,
    trained: Footprint | None = None,
    group_pairs: int = GROUP_PAIRS,
    renew: bool = False,
) -> Selection:
    """The groups that are held out of `pairs`, and those of their pairs that are tested on.

    Of each family's groups, `share` (0 to 1, rounded up) is chosen, by the SHA-256 of the name,
    but at most half; where no family has two groups, of all groups together. A group that several
    families have is chosen where one of them chooses it; one that would leave less than half of
    all pairs to train on is passed over. Of a chosen group at most `group_pairs` pairs are tested
    on, by the SHA-256 of the pair. What is in `keep` can all train: its groups are not chosen,
    and no pair that touches one of its DOIs is tested on.

    What was held out `before` stays and counts towards the share, its pairs come first. Added is
    nothing that models have `trained` on: no such group, no pair that touches such a DOI.

    To `renew` is to test on fresh groups alone: those within `share` (see `is_within`), whatever
    was held out before, which stays held out, but is retired.
    """
    rows, kept_rows = Pairs.of(pairs), Pairs.of(keep)
    kept = _kept_groups(rows, kept_rows)
    kept_dois = kept_rows.dois()
    stays = _stay(before, rows, kept=kept, kept_dois=kept_dois)
    known = footprint(()) if trained is None else trained
    is_fresh = ~rows.touching(rows.words.dois.among(known.dois))
    names = rows.words.groups
    is_out = names.among(known.groups) | names.among([*kept, *stays.groups])
    is_free = (rows.only(is_fresh).group_counts() > 0) & ~is_out
    is_testable = is_fresh & is_free[rows.group]
    is_testable &= ~rows.touching(rows.words.dois.among(kept_dois))
    tested = _cap(rows, is_testable, group_pairs=group_pairs)
    if renew:
        stays = stays._replace(pairs=[], retired=(*stays.retired, *stays.pairs))
        groups = _take_all(rows, stays, tested=tested, share=share)
    else:
        groups = _choose(rows, stays, tested=tested, is_free=is_free, share=share, kept=kept)
    added = np.sort(np.concatenate([*(tested.of(group) for group in groups), NONE]))
    chosen = names.at(np.array(groups, np.int64))
    return stays._replace(
        groups=stays.groups | set(chosen), pairs=stays.pairs + list(rows.only(added))
    )


def training_part(pairs: Iterable[LabelledPair], held_out: HeldOut) -> Training:
    """The pairs that share no group and no DOI with what is held out, or waits to be.

    `group_dropped` counts the pairs of a chosen or waiting group, `doi_dropped` those of other
    groups that touch a DOI which is, was, or waits to be tested on.
    """
    rows = Pairs.of(pairs)
    waits = rows.words.groups.among(waiting_groups(rows, held_out))
    is_out = (waits | rows.words.groups.among(held_out.groups))[rows.group]
    coming = rows.only(_cap(rows, waits[rows.group], group_pairs=GROUP_PAIRS).rows)
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
        for name, groups in _families(rows)
    ]


def wanted_of(groups: int, share: float) -> int:
    """How many of so many groups a share (0 to 1) is, rounded up."""
    return ceil(round(share * groups, SHARE_DIGITS))


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


class _Tested(NamedTuple):
    """The places of pairs to test on, int64, by the code of their group: from `first`, `counts`."""

    rows: Places
    first: Places
    counts: Places

    def of(self, group: int) -> Places:
        """Those of a group."""
        return self.rows[self.first[group] : self.first[group] + self.counts[group]]


def _kept_groups(rows: Pairs, keep: Pairs) -> set[str]:
    # Also where the dataset has one of these pairs under another group: it must be able to train.
    return groups_of(keep) | groups_of(rows.only(rows.having(keep)))


def _stay(before: HeldOut, rows: Pairs, *, kept: set[str], kept_dois: Texts) -> Selection:
    """What was held out, need not train and was not dropped, with the labels it has by now."""
    stays, retired = (
        [
            p
            for p, out in zip(some, _is_kept(some, kept=kept, kept_dois=kept_dois), strict=True)
            if not out
        ]
        for some in (before.pairs, before.retired)
    )
    labels = labels_of(stays, rows)
    labelled = [p._replace(label=label) for p, label in labels if label is not None]
    return Selection(before.groups - kept, labelled, tuple(retired))


def _is_kept(
    pairs: Sequence[LabelledPair], *, kept: set[str], kept_dois: Texts
) -> NDArray[np.bool_]:
    rows = Pairs.of(pairs)
    of_group = rows.words.groups.among(kept)[rows.group]
    return np.asarray(of_group | rows.touching(rows.words.dois.among(kept_dois)))


def labels_of(
    pairs: Sequence[LabelledPair], dataset: Sequence[LabelledPair]
) -> list[tuple[LabelledPair, int | None]]:
    """Each of the pairs with the label that it has in the dataset, None where that lacks it."""
    found = Pairs.of(dataset)
    found = found.only(found.having(Pairs.of(pairs)))
    labels = {pair.key: pair.label for pair in found}
    return [(pair, labels.get(pair.key)) for pair in pairs]


def _choose(
    rows: Pairs,
    stays: Selection,
    *,
    tested: _Tested,
    is_free: Mask,
    share: float,
    kept: set[str],
) -> list[int]:
    """The further groups, by their codes, of those that are free."""
    is_kept, stay = (rows.words.groups.among(names) for names in (kept, stays.groups))
    wanted, asking = dict[str, int](), defaultdict[int, list[str]](list)
    for name, groups in _sources(rows):
        most = min(wanted_of(int(np.count_nonzero(~is_kept[groups])), share), len(groups) // 2)
        wanted[name] = most - int(np.count_nonzero(stay[groups]))
        for group in groups[is_free[groups]].tolist():
            asking[group].append(name)
    room, chosen = _Room(rows, stays), list[int]()
    for group in _by_digest(rows, np.flatnonzero(is_free)):
        asks = [name for name in asking[group] if wanted[name] > 0]
        if asks and room.take(group, tested.of(group)):
            chosen.append(group)
            for name in asks:
                wanted[name] -= 1
    return chosen


def _take_all(rows: Pairs, stays: Selection, *, tested: _Tested, share: float) -> list[int]:
    """All fresh groups within `share`, as long as enough is left to train on."""
    room = _Room(rows, stays)
    fresh = np.flatnonzero(tested.counts)
    names = rows.words.groups.at(fresh)
    within = [group for group, name in zip(fresh, names, strict=True) if is_within(name, share)]
    ordered = _by_digest(rows, np.array(within, np.int64))
    return [group for group in ordered if room.take(group, tested.of(group))]


def _by_digest(rows: Pairs, groups: Places) -> list[int]:
    names = rows.words.groups.at(groups)
    ordered = sorted(zip(names, groups.tolist(), strict=True), key=lambda one: digest(one[0]))
    return [group for _, group in ordered]


def _families(rows: Pairs) -> list[tuple[str, Places]]:
    """The codes of each family's groups, by the families' names in order."""
    names, of_source = rows.families()
    size = max(len(rows.words.groups), 1)
    both = np.unique(of_source[rows.source].astype(np.int64) * size + rows.group)
    family, group = np.divmod(both, size)
    found = ((name, group[family == place]) for place, name in enumerate(names))
    return [(name, groups) for name, groups in found if len(groups)]


def _sources(rows: Pairs) -> list[tuple[str, Places]]:
    """The groups of each family; where no family has two, all groups as if they were of one."""
    found = _families(rows)
    if any(len(groups) > 1 for _, groups in found):
        return found
    return [("", np.unique(rows.group).astype(np.int64))]


class _Room:
    """How much is left to train on, while groups are held out one after the other."""

    def __init__(self, rows: Pairs, stays: Selection) -> None:
        self._rows = rows
        self._of_group = Where(rows.group)
        self._of_doi = Where(np.concatenate([rows.doi_a, rows.doi_b]))
        self._most_lost = (1 - LEAST_TRAINED) * len(rows)
        known = rows.words.dois.among(dois(chain(stays.pairs, stays.retired)))
        self._is_lost = rows.words.groups.among(stays.groups)[rows.group] | rows.touching(known)
        self._lost = int(np.count_nonzero(self._is_lost))

    def take(self, group: int, tested: Places) -> bool:
        """Hold a group out, unless too little would be left; whether it was."""
        codes = np.concatenate([self._rows.doi_a[tested], self._rows.doi_b[tested]])
        places = [self._of_group.of(group), *map(self._of_doi.of, np.unique(codes).tolist())]
        touching = np.concatenate(places) % max(len(self._rows), 1)
        loss = np.unique(touching[~self._is_lost[touching]])
        if self._lost + len(loss) > self._most_lost:
            return False
        self._is_lost[loss] = True
        self._lost += len(loss)
        return True


def _cap(rows: Pairs, mask: Mask, *, group_pairs: int) -> _Tested:
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
    return _Tested(places[capped], np.cumsum(kept) - kept, kept)
