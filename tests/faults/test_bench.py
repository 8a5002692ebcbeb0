"""A few rounds of each part that breaks a whole deployment; `make faults` has them all."""

import pytest

from tests.faults import delivery, ghost, kills
from tests.faults.runner import Part, some

PARTS = {"kills": (kills, 3), "delivery": (delivery, 2), "ghost": (ghost, 2)}


@pytest.mark.timeout(600)  # on a machine that others use
@pytest.mark.parametrize("name", PARTS)
def test_some_rounds(name: str) -> None:
    module, count = PARTS[name]
    did = some(name, Part(module.ROUNDS, module.rounds), range(count))
    assert sum(did.values()) >= 4 * count
