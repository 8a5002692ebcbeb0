"""Which label a pair has, where several rows speak of it.

Of one source (what stands before the colon) the later import counts, and within an import label 1.
Between sources label 1 counts, whoever came first: "not cited" is weaker evidence than "cited".
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from trainer.data.table import Codes, Mask, Pairs, Places

PAIRS_AT_ONCE = 65_536  # of those of which several rows speak


class Said(NamedTuple):
    """A row that speaks of a pair: its place among all rows; family and group are codes."""

    row: int
    label: int
    family: int
    group: int


class Opinions:
    """What the rows of one pair say, in the order in which they come.

    `contradictions` counts rows that met the other label, `corrected` those of them that changed
    what their own source had said. Of an import `every_source` is heard: what adds nothing to the
    others may take back what its own source said in an earlier one. `since` is the row by which
    the pair has its place among others.
    """

    def __init__(self, *, every_source: bool = False) -> None:
        self._every_source = every_source
        self.rows: list[Said] = []
        self.since = 0
        self.repeated = self.contradictions = self.corrected = 0

    @property
    def standing(self) -> Said:
        """The row whose label counts."""
        return next((row for row in self.rows if row.label), self.rows[0])

    def add(self, row: Said, *, corrects: bool = False) -> Said | None:
        """Take a row in; what is kept of it, None where it says nothing that counts.

        Where it `corrects`, it overrules what its source said before, and keeps that row's group.
        Else label 1 counts.
        """
        known = self.rows
        own = next((other for other in known if other.family == row.family), None)
        if self._every_source and known and own is None and not row.label:
            return self._keep(row, known)  # counted where it meets what is stored
        differs = any(other.label != row.label for other in known)
        if (own and own.label == row.label) or (known and not differs and not row.label):
            self.repeated += 1
            return None
        self.contradictions += differs
        if not (row.label or not known or (own and corrects)):
            return None
        if own and corrects:
            self.corrected += 1
            row = row._replace(group=own.group)
        return self._keep(row, [other for other in known if other is not own])

    def _keep(self, row: Said, others: list[Said]) -> Said:
        first = not self.rows
        self.rows = [*others, row]
        if first or self.standing is row:
            self.since = row.row  # so that it stands where it came
        return row


class Settled(NamedTuple):
    """Stored rows and an import's, each pair with what counts.

    `before` are the places of the rows that stand without the import, int64 [pairs], in their
    order, and `groups` the codes of their groups, which a correction has from the row before it.
    `after` are those that stand with the import, in no order; `added` and `added_groups` what the
    import adds, in its order.
    """

    before: Places
    groups: Codes
    after: Places
    added: Places
    added_groups: Codes
    repeated: int
    contradictions: int
    corrected: int


def settle(rows: Pairs, *, corrects: Mask) -> Settled:
    """What counts of rows that came one after the other: stored ones, and behind them an import's.

    `corrects` says of each stored one whether it overrules what its source said before; what is
    imported overrules what is stored. Most pairs have one row, which counts; of the others all
    are heard.
    """
    keys = rows.keys
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    counts = np.diff(first, append=len(order))
    alone = np.sort(order[first[counts == 1]])
    found = _Heard()
    for said in _spoken(rows, order, first=first[counts > 1], counts=counts[counts > 1]):
        found.hear(said, corrects=corrects)
    before, groups = _in_order(found.before, alone=alone[alone < len(corrects)], groups=rows.group)
    added, added_groups = _in_order(
        found.added, alone=alone[alone >= len(corrects)], groups=rows.group
    )
    return Settled(
        before=before,
        groups=groups,
        after=np.append(alone, np.frombuffer(found.after, np.int64)),
        added=added,
        added_groups=added_groups,
        repeated=found.repeated,
        contradictions=found.contradictions,
        corrected=found.corrected,
    )


class _Heard:
    """What became of the pairs of which several rows speak.

    Of what counts `before` and of what is `added` four numbers each, in one long array: the row by
    which its pair has its place, which of the pair's rows it is, its own row, its group.
    """

    def __init__(self) -> None:
        self.before = array("q")
        self.added = array("q")
        self.after = array("q")
        self.repeated = self.contradictions = self.corrected = 0

    def hear(self, said: Iterable[Said], *, corrects: Mask) -> None:
        """Take the rows of one pair in."""
        known, given = Opinions(), Opinions(every_source=True)
        for row in said:
            if row.row < len(corrects):
                known.add(row, corrects=bool(corrects[row.row]))
            else:
                given.add(row)
        if known.rows:
            self.before.extend((known.since, 0, known.standing.row, known.standing.group))
        known.repeated = known.contradictions = known.corrected = 0
        for nth, row in enumerate(given.rows):
            kept = known.add(row, corrects=True)
            if kept is not None:
                self.added.extend((given.since, nth, kept.row, kept.group))
        self.after.append(known.standing.row)
        self.repeated += known.repeated + given.repeated
        self.contradictions += known.contradictions + given.contradictions
        self.corrected += known.corrected


def _spoken(
    rows: Pairs, order: Places, *, first: Places, counts: Places
) -> Iterator[Iterable[Said]]:
    """The rows of each pair that has several: in `order` so many from a `first` one."""
    _, of_source = rows.families()
    for start in range(0, len(first), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        places = np.repeat(first[some], counts[some]) + _within(counts[some])
        at = order[places]
        columns = (at, rows.label[at], of_source[rows.source[at]], rows.group[at])
        said = map(Said, *(column.tolist() for column in columns))
        yield from (list(islice(said, count)) for count in counts[some].tolist())


def _within(counts: Places) -> Places:
    """0, 1, ... for each of the counts, one behind the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _in_order(heard: "array[int]", *, alone: Places, groups: Codes) -> tuple[Places, Codes]:
    """Rows that count, with their groups' codes, in the order in which their pairs came."""
    if not heard:
        return alone, groups[alone]
    since, nth, row, group = np.frombuffer(heard, np.int64).reshape(-1, 4).T
    order = np.lexsort((np.append(nth, np.zeros_like(alone)), np.append(since, alone)))
    every = np.append(group, groups[alone]).astype(np.int32)
    return np.append(row, alone)[order], every[order]
