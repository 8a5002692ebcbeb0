"""The development split: groups that training stops by, apart from those that it learns from."""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.pair import LabelledPair
from trainer.data import split

SALT = "development"


class Parts(NamedTuple):
    """Training pairs, those to evaluate on, and how many of the split's pairs are neither.

    These have a DOI of a training pair: the loss over them would fall as they are learnt by heart.
    """

    trained: Sequence[LabelledPair]
    development: Sequence[LabelledPair]
    dropped: int


def set_apart(pairs: Sequence[LabelledPair], *, share: float) -> Parts:
    """Set about this share (0 to 1) of the groups apart, the same ones whatever comes later."""
    if not share:
        return Parts(pairs, (), 0)
    chosen = {group for group in split.groups_of(pairs) if _is_within(group, share)}
    trained = [pair for pair in pairs if pair.group not in chosen]
    apart = [pair for pair in pairs if pair.group in chosen]
    known = split.dois(trained)
    free = [pair for pair in apart if pair.doi_a not in known and pair.doi_b not in known]
    return Parts(trained, free, len(apart) - len(free))


def _is_within(group: str, share: float) -> bool:
    # Not by the hash alone that chooses what is held out: of what is left it has no low values.
    return int.from_bytes(split.digest(SALT, group)) < share * 2**256
