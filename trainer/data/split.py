"""Held-out pairs and training pairs: no DOI and no group on both sides, whatever the input.

Connected components would give that too, but the largest one holds most of the pairs. So whole
groups are held out, and training drops what touches them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from math import ceil
from typing import NamedTuple, Protocol

from schemas.pair import LabelledPair

SALT = "doivec held-out\0"
# 0.07 * 100 is 7.000000000000001: without rounding, eight groups of a hundred.
SHARE_DIGITS = 9
LEAST_TRAINED = 0.5
GROUP_PAIRS = 200
Placed = tuple[int, LabelledPair]


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


class Training(NamedTuple):
    """Pairs to train on, in the order of the input, and how many were dropped for which reason."""

    pairs: list[LabelledPair]
    group_dropped: int
    doi_dropped: int


def hold_out(
    pairs: Sequence[LabelledPair],
    *,
    share: float,
    keep: Collection[LabelledPair] = (),
    before: HeldOut = NOTHING,
    trained: Collection[LabelledPair] = (),
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
    kept, kept_dois = _kept_groups(pairs, keep), dois(keep)
    stays = _stay(before, pairs, kept=kept, kept_dois=kept_dois)
    fresh = _untouched(pairs, trained)
    free = groups_of(fresh) - groups_of(trained) - kept - stays.groups
    testable = (p for p in fresh if p.group in free and not _touches(p, kept_dois))
    tested = _cap(testable, group_pairs)
    if renew:
        stays = stays._replace(pairs=[], retired=(*stays.retired, *stays.pairs))
        groups = _take_all(pairs, stays, tested=tested, share=share)
    else:
        groups = _choose(pairs, stays, tested=tested, free=free, share=share, kept=kept)
    added = sorted(placed for group in groups for placed in tested.get(group, ()))
    return stays._replace(
        groups=stays.groups | groups, pairs=stays.pairs + [pair for _, pair in added]
    )


def training_part(pairs: Iterable[LabelledPair], held_out: HeldOut) -> Training:
    """The pairs that share no group and no DOI with what is held out, or waits to be.

    `group_dropped` counts the pairs of a chosen or waiting group, `doi_dropped` those of other
    groups that touch a DOI which is, was, or waits to be tested on.
    """
    pairs = list(pairs)
    waiting = waiting_groups(pairs, held_out)
    out = held_out.groups | waiting
    others = [pair for pair in pairs if pair.group not in out]
    coming = _cap((pair for pair in pairs if pair.group in waiting), GROUP_PAIRS).values()
    later = (pair for placed in coming for _, pair in placed)
    tested = dois(chain(held_out.pairs, held_out.retired, later))
    free = [pair for pair in others if not _touches(pair, tested)]
    return Training(free, len(pairs) - len(others), len(others) - len(free))


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
    return {doi for pair in pairs for doi in (pair.doi_a, pair.doi_b)}


def groups_of(pairs: Iterable[LabelledPair]) -> set[str]:
    """All groups that `pairs` are of."""
    return {pair.group for pair in pairs}


def families(pairs: Iterable[LabelledPair]) -> dict[str, set[str]]:
    """The groups of each family, by its name in order."""
    found: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        found[pair.family].add(pair.group)
    return dict(sorted(found.items()))


def spread(pairs: Iterable[LabelledPair], held_out: HeldOut) -> list[tuple[str, tuple[int, int]]]:
    """Of each family by name: how many of its groups are held out, and how many it has."""
    found = families(pairs).items()
    return [(name, (len(groups & held_out.groups), len(groups))) for name, groups in found]


def wanted_of(groups: int, share: float) -> int:
    """How many of so many groups a share (0 to 1) is, rounded up."""
    return ceil(round(share * groups, SHARE_DIGITS))


def touched(held_out: Iterable[LabelledPair], trained: Collection[LabelledPair]) -> int:
    """How many held-out pairs share a DOI or a group with pairs that a model trained on."""
    known, groups = dois(trained), groups_of(trained)
    return sum(pair.group in groups or _touches(pair, known) for pair in held_out)


def digest(*parts: str) -> bytes:
    """The SHA-256 (32 bytes) by which groups, pairs and documents are put in an order of chance."""
    return sha256((SALT + "\0".join(parts)).encode()).digest()


def _kept_groups(pairs: Iterable[LabelledPair], keep: Collection[LabelledPair]) -> set[str]:
    # Also where the dataset has one of these pairs under another group: it must be able to train.
    keys = {pair.key for pair in keep}
    return groups_of(keep) | {p.group for p in pairs if keys and p.key in keys}


def _stay(
    before: HeldOut, pairs: Iterable[LabelledPair], *, kept: set[str], kept_dois: set[str]
) -> Selection:
    """What was held out, need not train and was not dropped, with the labels it has by now."""
    labels = {pair.key: pair.label for pair in pairs} if before.pairs else {}
    stays, retired = (
        [p for p in some if p.group not in kept and not _touches(p, kept_dois)]
        for some in (before.pairs, before.retired)
    )
    labelled = [p._replace(label=labels[p.key]) for p in stays if p.key in labels]
    return Selection(before.groups - kept, labelled, tuple(retired))


def _untouched(
    pairs: Sequence[LabelledPair], trained: Collection[LabelledPair]
) -> Sequence[LabelledPair]:
    known = dois(trained)
    return [pair for pair in pairs if not _touches(pair, known)] if known else pairs


def _choose(
    pairs: Sequence[LabelledPair],
    stays: Selection,
    *,
    tested: Mapping[str, list[Placed]],
    free: set[str],
    share: float,
    kept: set[str],
) -> frozenset[str]:
    """The further groups, of those that are `free`; `tested` has their pairs to test on."""
    sources = _sources(pairs)
    wanted = {
        name: min(wanted_of(len(groups - kept), share), len(groups) // 2)
        - len(groups & stays.groups)
        for name, groups in sources
    }
    asking = defaultdict(list)
    for name, groups in sources:
        for group in groups:
            asking[group].append(name)
    room, chosen = _Room(pairs, stays), set()
    for group in sorted(free, key=digest):
        asks = [name for name in asking[group] if wanted[name] > 0]
        if asks and room.take(group, [pair for _, pair in tested.get(group, ())]):
            chosen.add(group)
            for name in asks:
                wanted[name] -= 1
    return frozenset(chosen)


def _take_all(
    pairs: Sequence[LabelledPair],
    stays: Selection,
    *,
    tested: Mapping[str, list[Placed]],
    share: float,
) -> frozenset[str]:
    """All fresh groups within `share`, as long as enough is left to train on."""
    room = _Room(pairs, stays)
    fresh = sorted((group for group in tested if is_within(group, share)), key=digest)
    return frozenset(g for g in fresh if room.take(g, [pair for _, pair in tested[g]]))


def _sources(pairs: Iterable[LabelledPair]) -> list[tuple[str, set[str]]]:
    """The groups of each family; where no family has two, all groups as if they were of one."""
    found = families(pairs)
    if any(len(groups) > 1 for groups in found.values()):
        return list(found.items())
    return [("", set().union(*found.values()))]


class _Room:
    """How much is left to train on, while groups are held out one after the other."""

    def __init__(self, pairs: Sequence[LabelledPair], stays: Selection) -> None:
        self._of_group: dict[str, list[int]] = defaultdict(list)
        self._of_doi: dict[str, list[int]] = defaultdict(list)
        for place, pair in enumerate(pairs):
            self._of_group[pair.group].append(place)
            self._of_doi[pair.doi_a].append(place)
            self._of_doi[pair.doi_b].append(place)
        self._most_lost = (1 - LEAST_TRAINED) * len(pairs)
        self._lost = self._loss(stays.groups, chain(stays.pairs, stays.retired))

    def take(self, group: str, tested: Iterable[LabelledPair]) -> bool:
        """Hold a group out, unless too little would be left; whether it was."""
        loss = self._loss([group], tested) - self._lost
        if len(self._lost) + len(loss) > self._most_lost:
            return False
        self._lost |= loss
        return True

    def _loss(self, groups: Iterable[str], tested: Iterable[LabelledPair]) -> set[int]:
        places = [self._of_group.get(group, ()) for group in groups]
        places += [self._of_doi.get(doi, ()) for doi in dois(tested)]
        return set(chain.from_iterable(places))


def _cap(pairs: Iterable[LabelledPair], group_pairs: int) -> dict[str, list[Placed]]:
    """Of each group's pairs those to test on, each with its place in the input."""
    groups: dict[str, list[Placed]] = defaultdict(list)
    for placed in enumerate(pairs):
        groups[placed[1].group].append(placed)
    return {
        group: sorted(placed, key=lambda item: digest(*item[1].key))[:group_pairs]
        for group, placed in groups.items()
    }


def _touches(pair: LabelledPair, known: set[str]) -> bool:
    return pair.doi_a in known or pair.doi_b in known
