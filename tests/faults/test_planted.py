"""Every planted bug can be planted, and one of them is: `make faults` has them all."""

from pathlib import Path

import pytest

from tests.faults.planted_bugs import BUGS, PATCHES, Bug, caught, plant


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(bug: Bug, tmp_path: Path) -> None:
    plant(bug, tmp_path / "copy")


def test_each_patch_is_a_bug() -> None:
    assert {path.stem for path in PATCHES.iterdir()} == {bug.name for bug in BUGS}


@pytest.mark.timeout(300)
def test_a_bug_is_caught(tmp_path: Path) -> None:
    assert caught(BUGS[3], tmp_path / "copy") == "settle-twice, by walks"
