"""No DOI and no group stands on both sides of a split, whatever the pairs."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.pair import LabelledPair
from tests.support.strategies import LABELLED_PAIRS
from trainer.data.selection import hold_out
from trainer.data.split import Selection, dois, footprint, touched, training_part

PAIRS = st.lists(LABELLED_PAIRS, max_size=40)
SHARES = st.floats(0, 1)


def groups_of(pairs: list[LabelledPair]) -> set[str]:
    return {pair.group for pair in pairs}


def one_label(pairs: list[LabelledPair]) -> list[LabelledPair]:
    """Each pair once, as in a store: label 1 wins, and it stays in the group that it had first."""
    found: dict[tuple[str, str], LabelledPair] = {}
    for pair in pairs:
        known = found.setdefault(pair.key, pair)
        found[pair.key] = known._replace(label=max(known.label, pair.label))
    return list(found.values())


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


@given(pairs=PAIRS, later=PAIRS, share=SHARES, other=SHARES, has_trained=st.booleans())
def test_what_was_held_out_stays_and_nothing_is_added_that_a_model_trained_on(
    pairs: list[LabelledPair],
    later: list[LabelledPair],
    share: float,
    other: float,
    has_trained: bool,
) -> None:
    pairs = one_label(pairs)
    everything = one_label(pairs + later)
    before = hold_out(pairs, share=share)
    trained = footprint(training_part(everything if has_trained else pairs, before).pairs)
    again = hold_out(everything, share=other, before=before, trained=trained)
    assert again.groups >= before.groups
    kept = again.pairs[: len(before.pairs)]
    assert [p._replace(label=0) for p in kept] == [p._replace(label=0) for p in before.pairs]
    assert touched(again.pairs, trained) == 0
    same = hold_out(everything, share=other, before=again, trained=trained)
    assert (same.groups, same.pairs) == (again.groups, again.pairs)


@given(pairs=PAIRS, share=SHARES, keep=PAIRS)
def test_half_is_left_to_train_on(
    pairs: list[LabelledPair], share: float, keep: list[LabelledPair]
) -> None:
    held_out = hold_out(pairs, share=share, keep=keep)
    assert 2 * len(training_part(pairs, held_out).pairs) >= len(pairs)


def test_new_groups_are_held_out_where_a_model_knows_the_old_ones() -> None:
    old = [p for n in range(40) for p in star(f"old {n}", 3)]
    new = [p for n in range(20) for p in star(f"new {n}", 3)]
    before = hold_out(old, share=0.1)
    trained = footprint(training_part(old, before).pairs)
    again = hold_out(old + new, share=0.1, before=before, trained=trained)
    assert Counter(group.split()[0] for group in again.groups) == {"old": 4, "new": 2}
    assert len(again.pairs) == 18
    everything = footprint(training_part(old + new, before).pairs)
    assert hold_out(old + new, share=0.1, before=before, trained=everything) == before


def test_a_label_that_came_later_counts() -> None:
    pairs = [*star("a", 4), *star("b", 4)]
    before = hold_out(pairs, share=0.5)
    cited = [pair._replace(label=1) for pair in pairs]
    again = hold_out(cited, share=0.5, before=before)
    assert again.groups == before.groups
    assert [pair.label for pair in again.pairs] == [1] * 4


def test_what_must_train_trains_though_it_was_held_out() -> None:
    pairs = [*star("a", 4), *star("b", 4)]
    before = hold_out(pairs, share=0.5)
    again = hold_out(pairs, share=0.5, keep=before.pairs, before=before)
    assert again.groups.isdisjoint(before.groups)
    assert len(again.pairs) == 4


@pytest.mark.parametrize(("reviews", "held"), [(1, 0), (2, 1), (5, 1), (20, 2)])
def test_sources_of_one_group_are_held_out_by_group(reviews: int, held: int) -> None:
    pairs = [p for n in range(reviews) for p in star(f"r{n}", 6, source=f"review {n}")]
    assert len(hold_out(pairs, share=0.1).groups) == held


def test_a_source_of_one_group_trains_beside_others() -> None:
    many = [p for n in range(10) for p in star(f"g{n}", 3)]
    chosen = hold_out([*many, *star("alone", 3, source="another")], share=1).groups
    assert len(chosen) == 5
    assert "alone" not in chosen


def test_a_group_that_has_most_of_the_pairs_trains() -> None:
    pairs = [*star("large", 100), *star("a", 5), *star("b", 5)]
    assert "large" not in hold_out(pairs, share=0.5).groups
    assert hold_out(pairs, share=0.5).pairs


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
    pairs = [*star("shared", 2), *star("shared", 2, source="two"), *star("other", 4)]
    assert hold_out(pairs, share=1, keep=star("other", 1)).pairs == pairs[:4]


def test_groups_are_capped_after_what_must_train_is_left_out() -> None:
    pairs = star("large", 300)
    kept = [LabelledPair("10.2/large.7", "10.3/x", 1, "seed", "seed"), *star("other", 400)]
    held_out = hold_out([*pairs, *kept], share=1, keep=kept, group_pairs=299)
    assert held_out.pairs == [p for p in pairs if p.doi_b != "10.2/large.7"]
    others = star("other", 400)
    assert len(hold_out([*pairs, *others], share=1, keep=others).pairs) == 200


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


@given(pairs=PAIRS, later=PAIRS, last=PAIRS, share=SHARES)
def test_a_renewal_tests_on_what_no_model_met_and_keeps_what_was_held_out(
    pairs: list[LabelledPair], later: list[LabelledPair], last: list[LabelledPair], share: float
) -> None:
    """Groups that came after the first set wait untrained; the second is of these alone."""
    pairs, everything = one_label(pairs), one_label(pairs + later)
    first = hold_out(pairs, share=share)._replace(reserve=share)
    trained = footprint(training_part(everything, first).pairs)
    second = hold_out(everything, share=share, before=first, trained=trained, renew=True)
    keys = {pair.key for pair in first.pairs}
    assert not {pair.key for pair in second.pairs} & keys
    assert {pair.key for pair in second.retired} == keys
    assert second.groups >= first.groups
    assert touched(second.pairs, trained) == 0
    again = training_part(one_label(everything + last), second).pairs
    assert not dois(again) & (dois(second.pairs) | dois(second.retired))
    assert not groups_of(again) & second.groups


def test_a_set_that_is_frozen_again_has_the_labels_of_now_and_not_what_was_dropped() -> None:
    pairs = [pair for n in range(10) for pair in star(f"g{n}", 4)]
    before = hold_out(pairs, share=0.3)
    wrong, gone = before.pairs[0], before.pairs[1]
    now = [p._replace(label=1 - p.label) if p == wrong else p for p in pairs if p != gone]
    again = hold_out(now, share=0.3, before=before)
    assert again.groups == before.groups
    assert again.pairs == [wrong._replace(label=1 - wrong.label), *before.pairs[2:]]


def test_groups_that_come_later_wait_for_the_next_set() -> None:
    old = [pair for n in range(40) for pair in star(f"old{n}", 3)]
    new = [pair for n in range(60) for pair in star(f"new{n}", 3)]
    first = hold_out(old, share=0.3)._replace(reserve=0.3)
    trained = footprint(training_part(old + new, first).pairs)
    waiting = {p.group for p in new} - set(trained.groups)
    assert 8 <= len(waiting) <= 30, "about three in ten"
    second = hold_out(old + new, share=0.3, before=first, trained=trained, renew=True)
    assert groups_of(second.pairs) == waiting
    assert set(second.retired) == set(first.pairs)
    third = hold_out(old + new, share=0.3, before=second, trained=trained, renew=True)
    assert third.pairs == []
    assert set(third.retired) == {*first.pairs, *second.pairs}
    exempt = first._replace(exempt=frozenset(waiting))
    assert waiting <= groups_of(training_part(old + new, exempt).pairs)
    assert waiting <= groups_of(training_part(old + new, first._replace(reserve=0.0)).pairs)
