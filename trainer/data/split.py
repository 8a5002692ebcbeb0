"""Held-out pairs and training pairs: no DOI and no group on both sides, whatever the input.

Connected components would give that too, but the largest one holds most of the pairs. So whole
groups are held out, and training drops what touches them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import sha256
from math import ceil
from typing import NamedTuple, Protocol

from schemas.pair import LabelledPair

SALT = "doivec held-out\0"
# 0.07 * 100 is 7.000000000000001: without rounding, eight groups of a hundred.
SHARE_DIGITS = 9


class HeldOut(Protocol):
    """What is held out: the chosen groups, and those of their pairs that a model is tested on."""

    @property
    def groups(self) -> frozenset[str]:
        """All chosen groups, those without a pair in `pairs` too."""

    @property
    def pairs(self) -> list[LabelledPair]:
        """The held-out pairs."""


class Selection(NamedTuple):
    """Chosen groups, and of their pairs those to test on, in the order of the input."""

    groups: frozenset[str]
    pairs: list[LabelledPair]


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
    group_pairs: int = 200,
) -> Selection:
    """The groups that are held out of `pairs`, and those of their pairs that are tested on.

    Of each family's groups, `share` (0 to 1, rounded up) is chosen, by the SHA-256 of the name;
    a group that several families have is chosen where one of them chooses it. Of a chosen group
    at most `group_pairs` pairs are tested on, by the SHA-256 of the pair. What is in `keep` can
    all train: its groups are not chosen, and no pair that touches one of its DOIs is tested on.
    """
    groups = _choose(pairs, share=share, kept=_kept_groups(pairs, keep))
    kept_dois = dois(keep)
    apart = (p for p in pairs if p.group in groups and not _touches(p, kept_dois))
    return Selection(groups, _cap(apart, group_pairs))


def training_part(pairs: Iterable[LabelledPair], held_out: HeldOut) -> Training:
    """The pairs that share no group and no DOI with what is held out.

    `group_dropped` counts the pairs of a chosen group, `doi_dropped` those of other groups that
    touch a DOI of a held-out pair.
    """
    pairs = list(pairs)
    others = [pair for pair in pairs if pair.group not in held_out.groups]
    tested = dois(held_out.pairs)
    free = [pair for pair in others if not _touches(pair, tested)]
    return Training(free, len(pairs) - len(others), len(others) - len(free))


def dois(pairs: Iterable[LabelledPair]) -> set[str]:
    """All DOIs that stand in `pairs`, on either side."""
    return {doi for pair in pairs for doi in (pair.doi_a, pair.doi_b)}


def touched(held_out: Iterable[LabelledPair], trained: Sequence[LabelledPair]) -> int:
    """How many held-out pairs share a DOI or a group with pairs that a model trained on."""
    known, groups = dois(trained), {pair.group for pair in trained}
    return sum(pair.group in groups or _touches(pair, known) for pair in held_out)


def digest(*parts: str) -> bytes:
    """The SHA-256 (32 bytes) by which groups, pairs and documents are put in an order of chance."""
    return sha256((SALT + "\0".join(parts)).encode()).digest()


def _kept_groups(pairs: Iterable[LabelledPair], keep: Collection[LabelledPair]) -> set[str]:
    # Also where the dataset has one of these pairs under another group: it must be able to train.
    keys = {pair.key for pair in keep}
    return {p.group for p in keep} | {p.group for p in pairs if keys and p.key in keys}


def _choose(pairs: Iterable[LabelledPair], *, share: float, kept: set[str]) -> frozenset[str]:
    families: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.group not in kept:
            families[pair.family].add(pair.group)
    return frozenset(group for groups in families.values() for group in _first(groups, share=share))


def _first(groups: set[str], *, share: float) -> list[str]:
    wanted = ceil(round(share * len(groups), SHARE_DIGITS))
    return sorted(groups, key=digest)[:wanted]


def _cap(pairs: Iterable[LabelledPair], group_pairs: int) -> list[LabelledPair]:
    groups: dict[str, list[tuple[int, LabelledPair]]] = defaultdict(list)
    for place, pair in enumerate(pairs):
        groups[pair.group].append((place, pair))
    return [pair for _, pair in sorted(_tested(groups.values(), group_pairs))]


def _tested(
    groups: Iterable[list[tuple[int, LabelledPair]]], group_pairs: int
) -> Iterator[tuple[int, LabelledPair]]:
    for placed in groups:
        yield from sorted(placed, key=lambda item: digest(*item[1].key))[:group_pairs]


def _touches(pair: LabelledPair, known: set[str]) -> bool:
    return pair.doi_a in known or pair.doi_b in known
