"""Pairs as columns are the same pairs: each operation gives what sets of objects would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pair import LabelledPair
from tests.support.strategies import LABELLED_PAIRS
from trainer.data import table
from trainer.data.table import Pairs

PAIRS = st.lists(LABELLED_PAIRS, max_size=40)


@given(pairs=PAIRS, others=PAIRS)
def test_pairs_are_a_sequence_of_what_they_were_made_of(
    pairs: list[LabelledPair], others: list[LabelledPair]
) -> None:
    rows = Pairs.of(pairs)
    assert rows == pairs == list(rows)
    assert (rows == others) == (pairs == others)
    assert rows[1:-1] == pairs[1:-1]
    assert [rows[place] for place in range(-len(pairs), len(pairs))] == pairs + pairs
    assert Pairs.joined(rows, Pairs.of(others)) == pairs + others
    with pytest.raises(IndexError):
        rows[len(pairs)]


@given(pairs=PAIRS, others=PAIRS)
def test_columns_answer_as_sets_would(
    pairs: list[LabelledPair], others: list[LabelledPair]
) -> None:
    rows, keys = Pairs.of(pairs), {pair.key for pair in others}
    dois = {doi for pair in others for doi in (pair.doi_a, pair.doi_b)}
    assert rows.having(Pairs.of(others)).tolist() == [pair.key in keys for pair in pairs]
    touching = rows.touching(rows.words.dois.among(dois)).tolist()
    assert touching == [not dois.isdisjoint((pair.doi_a, pair.doi_b)) for pair in pairs]
    labelled = rows.only(rows.label > 0)
    positives = [pair for pair in pairs if pair.label]
    assert set(labelled.dois()) == {d for p in positives for d in (p.doi_a, p.doi_b)}
    assert set(labelled.group_names()) == {pair.group for pair in positives}
    names, of_source = rows.families()
    assert [names[code] for code in of_source[rows.source]] == [pair.family for pair in pairs]


def test_what_comes_in_pieces_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 7)
    pairs = [LabelledPair(f"10.1/{n}", f"10.2/{n % 5}", n % 2, "s", f"g{n % 3}") for n in range(50)]
    rows = Pairs.of(pair for pair in pairs)
    assert rows == pairs
    assert len(rows.words.dois) == 55, "each once"
    assert list(rows.words.dois) == rows.words.dois.array.to_pylist()
