from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import DeviceLost, OutOfMemory, StoreUnavailable
from worker.ingest.narrow import Failure, narrow


def attempt_without(poison: set[int], *, room: int = 10**9) -> object:
    def attempt(items: Sequence[int]) -> list[int]:
        if len(items) > room:
            raise OutOfMemory("no room")
        if poison.intersection(items):
            raise RuntimeError("poison")
        return [item * 2 for item in items]

    return attempt


@given(st.lists(st.integers(0, 50), unique=True, min_size=1), st.sets(st.integers(0, 50)))
def test_the_poison_ends_alone_and_the_rest_is_done_in_order(
    items: list[int], poison: set[int]
) -> None:
    pieces = list(narrow(attempt_without(poison), items))
    failed = [p.item for p in pieces if isinstance(p, Failure)]
    done = [(i, r) for p in pieces if not isinstance(p, Failure) for i, r in zip(*p, strict=True)]
    assert failed == [i for i in items if i in poison]
    assert done == [(i, i * 2) for i in items if i not in poison]


def test_out_of_memory_halves_until_it_fits() -> None:
    pieces = list(narrow(attempt_without(set(), room=3), range(10)))
    assert all(not isinstance(p, Failure) and len(p[0]) <= 3 for p in pieces)
    assert [i for p in pieces for i in p[0]] == list(range(10))


def test_nothing_to_do_is_not_tried() -> None:
    assert list(narrow(attempt_without(set()), [])) == []


@pytest.mark.parametrize("error", [StoreUnavailable("away"), DeviceLost("gone")])
def test_the_fault_of_the_infrastructure_is_nobodys_poison(error: Exception) -> None:
    def attempt(items: Sequence[int]) -> None:
        raise error

    with pytest.raises(type(error)):
        list(narrow(attempt, [1, 2, 3]))
