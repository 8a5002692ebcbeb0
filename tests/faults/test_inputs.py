"""Some cases of fuzzed input for each reader; `python -m tests.faults.inputs` has a million."""

from pathlib import Path

import pytest

from schemas.document import Document
from tests.faults.inputs import fuzz
from tests.faults.inputs.bench import Failed, Failures, Target, fuzz_targets, run, spread
from tests.faults.inputs.files import seeds
from tests.faults.inputs.papers import FORMATS
from tests.faults.inputs.targets import TARGETS
from worker.settings.ingest import LimitSettings
from worker.sources.records import read

CASES = 1500


def test_nothing_that_is_read_makes_a_reader_fail() -> None:
    found = fuzz(CASES)
    assert sum(counts["cases"] for counts in found.values()) == pytest.approx(
        CASES, abs=len(TARGETS)
    )
    assert all(c["cases"] == c["accepted"] + c["refused"] for c in found.values())
    assert found["doi"]["accepted"]
    assert found["doi"]["refused"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_cases_are_made_of_is_read_as_it_was_written(name: str, tmp_path: Path) -> None:
    for number, seed in enumerate(seeds(name)[:6]):
        path = tmp_path / f"{number}.{name}"
        path.write_bytes(seed.content)
        found = list(read(str(path), limits=LimitSettings()))
        assert all(isinstance(one, Document) for one in found), found
        documents = [one for one in found if isinstance(one, Document)]
        assert [one.doi for one in documents] == [paper.doi for paper in seed.papers]
        if name != "txt":
            titles = [" ".join(paper.title.split()) for paper in seed.papers]
            assert [one.title for one in documents] == titles


def test_parts_of_a_run_have_no_case_twice_and_leave_none_out() -> None:
    parts = [dict(spread(TARGETS, 700, first=first)) for first in (0, 700, 1400)]
    whole = dict(spread(TARGETS, 2100, first=0))
    for target, numbers in whole.items():
        assert [n for part in parts for n in part[target]] == list(numbers)


def test_a_case_that_fails_is_told_with_how_to_run_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = next(one for one in TARGETS if one.name == "doi")
    broken = Target("broken", 1, target.open)
    failures = Failures()
    failures.add("broken", 7, ValueError("planted"))
    again = "python -m tests.faults.inputs --target broken --first 7 --cases 1"
    assert again in capsys.readouterr().out
    with pytest.raises(Failed, match="1 cases in 1 ways"):
        failures.check()
    assert run(broken, range(3), Failures(), say=lambda _: None)["cases"] == 3
    assert fuzz_targets([(broken, range(0))]) == {}
