"""Which label a pair has, where several rows speak of it.

Of one source (what stands before the colon) the later import counts, and within an import label 1.
Between sources label 1 counts, whoever came first: "not cited" is weaker evidence than "cited".
"""

from collections.abc import Iterator

from schemas.pair import LabelledPair

Key = tuple[str, str]


class Labels:
    """Pairs by their key, each with what its sources say; counts what met a pair that was there.

    `contradictions` counts rows that met the other label of their pair, `corrected` those of them
    that changed what their own source had said. Of an import `every_source` is heard: what adds
    nothing to the others may take back what its own source said in an earlier one.
    """

    def __init__(self, *, every_source: bool = False) -> None:
        self._every_source = every_source
        # Nearly all pairs have one source: a list for each would take as much memory again.
        self._rows: dict[Key, LabelledPair | list[LabelledPair]] = {}
        self.repeated = self.contradictions = self.corrected = 0

    def __iter__(self) -> Iterator[LabelledPair]:
        """Each pair once, with the label that counts, where that came."""
        return (_standing(_listed(rows)) for rows in self._rows.values())

    def rows(self) -> Iterator[LabelledPair]:
        """All rows that say something, those too that don't decide."""
        return (row for rows in self._rows.values() for row in _listed(rows))

    def add(self, pair: LabelledPair, *, corrects: bool = False) -> LabelledPair | None:
        """Take a row in; what is kept of it, None where it says nothing that counts.

        Where it `corrects`, it overrules what its source said before, and keeps that row's group.
        Else label 1 counts.
        """
        known = _listed(self._rows.get(pair.key, []))
        own = next((row for row in known if row.family == pair.family), None)
        if self._every_source and known and own is None and not pair.label:
            self._keep(pair, known)  # counted where it meets what is stored
            return pair
        differs = any(row.label != pair.label for row in known)
        if (own and own.label == pair.label) or (known and not differs and not pair.label):
            self.repeated += 1
            return None
        self.contradictions += differs
        if not (pair.label or not known or (own and corrects)):
            return None
        if own and corrects:
            self.corrected += 1
            pair = pair._replace(group=own.group)
        self._keep(pair, [row for row in known if row is not own])
        return pair

    def _keep(self, pair: LabelledPair, others: list[LabelledPair]) -> None:
        before = self._rows.get(pair.key)
        rows = [*others, pair]
        if before is not None and _standing(rows) is pair:
            del self._rows[pair.key]  # so that it stands where it came
        self._rows[pair.key] = rows if others else pair


def _listed(rows: LabelledPair | list[LabelledPair]) -> list[LabelledPair]:
    return rows if isinstance(rows, list) else [rows]


def _standing(rows: list[LabelledPair]) -> LabelledPair:
    return next((row for row in rows if row.label), rows[0])
