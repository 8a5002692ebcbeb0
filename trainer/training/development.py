"""The development split: groups that training stops by, apart from those that it learns from."""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.pair import LabelledPair
from trainer.data import split
from trainer.data.table import Pairs

SALT = "development"


class Parts(NamedTuple):
    """Training pairs, those to evaluate on, and how many of the split's pairs are neither.

    These have a DOI of a training pair: the loss over them would fall as they are learnt by heart.
    """

    trained: Pairs
    development: Pairs
    dropped: int


def set_apart(pairs: Sequence[LabelledPair], *, share: float) -> Parts:
    """Set about this share (0 to 1) of the groups apart, the same ones whatever comes later."""
    rows = Pairs.of(pairs)
    if not share:
        return Parts(rows, Pairs.of(()), 0)
    chosen = {group for group in split.groups_of(rows) if _is_within(group, share)}
    is_apart = rows.words.groups.among(chosen)[rows.group]
    trained, apart = rows.only(~is_apart), rows.only(is_apart)
    free = apart.only(~apart.touching(trained.used()))
    return Parts(trained, free, len(apart) - len(free))


def _is_within(group: str, share: float) -> bool:
    # Not by the hash alone that chooses what is held out: of what is left it has no low values.
    return int.from_bytes(split.digest(SALT, group)) < share * 2**256
