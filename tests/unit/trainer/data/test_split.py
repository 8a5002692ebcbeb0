"""No DOI and no group stands on both sides of a split, whatever the pairs."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pair import LabelledPair
from tests.support.strategies import LABELLED_PAIRS
from trainer.data.split import Selection, dois, hold_out, training_part

PAIRS = st.lists(LABELLED_PAIRS, max_size=40)
SHARES = st.floats(0, 1)


def groups_of(pairs: list[LabelledPair]) -> set[str]:
    return {pair.group for pair in pairs}


def star(group: str, leaves: int, *, source: str = "one") -> list[LabelledPair]:
    """A group's pairs: one DOI with each of some others that no other group has."""
    return [
        LabelledPair(f"10.1/{group}", f"10.2/{group}.{n}", n % 2, source, group)
        for n in range(leaves)
    ]


@given(pairs=PAIRS, share=SHARES, keep=PAIRS, group_pairs=st.integers(0, 5))
def test_no_doi_and_no_group_is_on_both_sides(
    pairs: list[LabelledPair], share: float, keep: list[LabelledPair], group_pairs: int
) -> None:
    held_out = hold_out(pairs, share=share, keep=keep, group_pairs=group_pairs)
    training = training_part(pairs, held_out)
    assert not dois(training.pairs) & dois(held_out.pairs)
    assert not groups_of(training.pairs) & held_out.groups
    assert groups_of(held_out.pairs) <= held_out.groups
    assert max(Counter(p.group for p in held_out.pairs).values(), default=0) <= group_pairs
    dropped = training.group_dropped + training.doi_dropped
    assert len(training.pairs) + dropped == len(pairs)


@given(pairs=PAIRS, share=SHARES, data=st.data())
def test_what_must_train_trains(
    pairs: list[LabelledPair], share: float, data: st.DataObject
) -> None:
    keep = [pair for pair in pairs if data.draw(st.booleans())]
    training = training_part(pairs, hold_out(pairs, share=share, keep=keep))
    assert set(keep) <= set(training.pairs)


@given(pairs=PAIRS, later=PAIRS, share=SHARES)
def test_pairs_that_come_later_do_not_touch_what_is_held_out(
    pairs: list[LabelledPair], later: list[LabelledPair], share: float
) -> None:
    held_out = hold_out(pairs, share=share)
    training = training_part(pairs + later, held_out)
    assert not dois(training.pairs) & dois(held_out.pairs)
    assert not groups_of(training.pairs) & held_out.groups


@given(pairs=PAIRS, share=SHARES, data=st.data())
def test_the_order_of_the_input_decides_nothing_but_the_order(
    pairs: list[LabelledPair], share: float, data: st.DataObject
) -> None:
    pairs = list(dict.fromkeys(pairs))
    shuffled = data.draw(st.permutations(pairs))
    one, other = hold_out(pairs, share=share), hold_out(shuffled, share=share)
    assert one.groups == other.groups
    assert Counter(one.pairs) == Counter(other.pairs)
    assert one.pairs == [pair for pair in pairs if pair in set(one.pairs)]


def test_a_share_of_each_familys_groups_is_chosen_and_rounded_up() -> None:
    one = [p for n in range(100) for p in star(f"one {n}", 2)]
    two = [p for n in range(5) for p in star(f"two {n}", 2, source="two:cites")]
    chosen = hold_out(one + two, share=0.07).groups
    assert Counter(group.split()[0] for group in chosen) == {"one": 7, "two": 1}


def test_a_group_that_two_families_have_is_held_out_of_both() -> None:
    pairs = [*star("shared", 2), *star("shared", 2, source="two"), *star("other", 2)]
    assert hold_out(pairs, share=1, keep=star("other", 1)).pairs == pairs[:4]


def test_groups_are_capped_after_what_must_train_is_left_out() -> None:
    pairs = star("large", 300)
    kept = LabelledPair("10.2/large.7", "10.3/x", 1, "seed", "seed")
    held_out = hold_out(pairs, share=1, keep=[kept], group_pairs=299)
    assert held_out.pairs == [p for p in pairs if p.doi_b != "10.2/large.7"]
    assert len(hold_out(pairs, share=1).pairs) == 200


def test_a_kept_pair_trains_under_another_group_too() -> None:
    here = star("large", 1)
    there = [here[0]._replace(group="elsewhere", doi_a=here[0].doi_b, doi_b=here[0].doi_a)]
    assert hold_out(here, share=1, keep=there) == Selection(frozenset(), [])


def test_training_says_why_pairs_were_dropped() -> None:
    held_out = Selection(frozenset({"held", "empty"}), star("held", 2))
    touching = [LabelledPair("10.9/x", "10.2/held.1", 1, "one", "x")]
    given_pairs = [*star("held", 5), *star("empty", 1), *touching, *star("free", 3)]
    training = training_part(given_pairs, held_out)
    assert (training.group_dropped, training.doi_dropped) == (6, 1)
    assert training.pairs == star("free", 3)


@pytest.mark.parametrize("pairs", [[], star("one", 3)])
def test_no_share_holds_nothing_out(pairs: list[LabelledPair]) -> None:
    assert hold_out(pairs, share=0) == Selection(frozenset(), [])
