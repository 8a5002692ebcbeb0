"""Some cases of fuzzed input for each reader; `python -m tests.faults.inputs` has a million."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from schemas.document import Document
from tests.faults.inputs import fuzz
from tests.faults.inputs.bench import Case, Failed, Target, fuzz_targets, spread
from tests.faults.inputs.files import seeds
from tests.faults.inputs.papers import FORMATS
from tests.faults.inputs.targets import TARGETS
from worker.settings.ingest import LimitSettings
from worker.sources.records import read

CASES = 800


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
    @contextmanager
    def opened(_: Path) -> Iterator[Case]:
        def case(rng: Random) -> bool:
            if rng.random() < 0.5:
                raise ValueError(f"planted {rng.random()}")
            return True

        yield case

    broken = Target("broken", 1, opened)
    with pytest.raises(Failed, match="in 1 ways; python -m tests") as caught:
        fuzz_targets([(broken, range(20, 60))])
    again = "python -m tests.faults.inputs --target broken --first "
    told = capsys.readouterr().out
    assert told.count(again) == 1, "each way once"
    first = int(str(caught.value).partition(again)[2].partition(" ")[0])
    with pytest.raises(Failed, match="1 cases"):
        fuzz_targets([(broken, range(first, first + 1))])


def test_a_case_without_end_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    @contextmanager
    def opened(_: Path) -> Iterator[Case]:
        yield lambda _: any(iter(lambda: 0, 1))

    with pytest.raises(Failed):
        fuzz_targets([(Target("endless", 1, opened), range(1))], bound_s=0.05)
    assert "Hang" in capsys.readouterr().out
