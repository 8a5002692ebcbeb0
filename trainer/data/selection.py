"""Which groups are held out, and which of their pairs are tested on."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain
from math import ceil

import numpy as np

from schemas.pair import LabelledPair
from trainer.data.split import (
    GROUP_PAIRS,
    LEAST_TRAINED,
    NOTHING,
    Footprint,
    HeldOut,
    Selection,
    Tested,
    cap,
    digest,
    dois,
    families,
    footprint,
    groups_of,
    is_within,
    labels_of,
)
from trainer.data.table import Mask, Pairs, Places, Texts, Where

# 0.07 * 100 is 7.000000000000001: without rounding, eight groups of a hundred.
SHARE_DIGITS = 9
NONE = np.empty(0, np.int64)


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
    tested = cap(rows, is_testable, group_pairs=group_pairs)
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


def wanted_of(groups: int, share: float) -> int:
    """How many of so many groups a share (0 to 1) is, rounded up."""
    return ceil(round(share * groups, SHARE_DIGITS))


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


def _is_kept(pairs: Sequence[LabelledPair], *, kept: set[str], kept_dois: Texts) -> Mask:
    rows = Pairs.of(pairs)
    of_group = rows.words.groups.among(kept)[rows.group]
    return np.asarray(of_group | rows.touching(rows.words.dois.among(kept_dois)))


def _choose(
    rows: Pairs,
    stays: Selection,
    *,
    tested: Tested,
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


def _take_all(rows: Pairs, stays: Selection, *, tested: Tested, share: float) -> list[int]:
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


def _sources(rows: Pairs) -> list[tuple[str, Places]]:
    """The groups of each family; where no family has two, all groups as if they were of one."""
    found = families(rows)
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
