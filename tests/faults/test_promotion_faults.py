"""A kill at every named step of a promotion; `make faults` has twenty of each."""

from pathlib import Path

import pytest

from tests.faults.promotion import STEPS, VICTIMS, faults


@pytest.mark.timeout(300)
def test_a_kill_at_every_step(tmp_path: Path) -> None:
    with faults(tmp_path) as deployment:
        for number, step in enumerate(STEPS):
            deployment.run(step, seed=number % len(VICTIMS))
        assert deployment.late < len(STEPS) / 2, "kills that came too late show nothing"
