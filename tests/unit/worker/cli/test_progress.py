"""Bars, and the lines that stand for them where there is no terminal."""

import io
import re

import pytest

from tests.support.servers import wait_until
from worker.cli import console
from worker.cli.progress import Bar, span
from worker.telemetry import Desk, Pace


def console_of(*, is_terminal: bool) -> tuple[console.Plain, io.StringIO]:
    made, file = console.Plain(stderr=True), io.StringIO()
    made.file, made.width = file, 80
    made._force_terminal = is_terminal
    return made, file


def test_without_a_terminal_it_is_a_line_now_and_then() -> None:
    err, file = console_of(is_terminal=False)
    with Bar("dois.txt", unit="DOIs", line_s=0.01, err=err) as bar:
        bar.show(0, 14_000)
        bar.show(3072, 14_000)
        wait_until(lambda: "left" in file.getvalue())
    line = next(line for line in file.getvalue().splitlines() if "left" in line)
    assert re.fullmatch(r"dois.txt: 3,072 of 14,000 DOIs, [\d,.]+/s, \d+ s left", line)


def test_it_ends_with_a_rate_however_short_it_was() -> None:
    err, file = console_of(is_terminal=False)
    with Bar("few.txt", unit="DOIs", err=err) as bar:
        bar.show(0, None)
        bar.show(3, 3)
    assert re.fullmatch(r"few.txt: 3 of 3 DOIs, [\d,.]+/s\n", file.getvalue())


def test_an_estimated_total_is_told_as_one() -> None:
    err, file = console_of(is_terminal=False)
    with Bar("big.txt", unit="DOIs", err=err) as bar:
        bar.show(1000, 150_000_000, about=True, words="holding")
    assert file.getvalue() == "big.txt: 1,000 of about 150,000,000 DOIs, holding\n"


def test_what_showed_nothing_says_nothing() -> None:
    err, file = console_of(is_terminal=False)
    with Bar("dois.txt", err=err):
        pass
    assert file.getvalue() == ""


def test_what_is_brief_says_nothing_at_its_end() -> None:
    err, file = console_of(is_terminal=False)
    with Bar("exporting", unit="records", brief=True, err=err) as bar:
        bar.show(3, None)
    assert file.getvalue() == ""
    with Bar("exporting", unit="records", brief=True, line_s=0.01, err=err) as bar:
        bar.show(3, None)
        wait_until(lambda: "exporting: 3 records" in file.getvalue())
    assert file.getvalue().count("exporting: 3 records") > 1


def test_a_bar_fits_into_80_columns() -> None:
    err, file = console_of(is_terminal=True)
    with Bar("a_rather_long_name_of_a_list_2024-11-26.txt", unit="DOIs", err=err) as bar:
        bar.show(0, 14_000_000)
        bar.show(3_072_000, 14_000_000)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    last = [line for line in re.split(r"[\r\n]+", text) if "3,072,000" in line][-1]
    assert len(last) <= 80
    assert last.startswith("a_rather_lon…4-11-26.txt ")
    assert "3,072,000 of 14,000,000 DOIs" in last


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (180, "3 min"), (7500, "2 h 5 min"), (864_000, "10 d")],
)
def test_times_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_pace_is_that_of_the_last_half_minute() -> None:
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    pace.note(0)
    now[0] = 100.0  # before it begins to grow, no time counts
    pace.note(0)
    assert pace.per_s == 0
    now[0] = 101.0
    pace.note(50)
    assert pace.per_s == 50
    for second in range(60):
        now[0] = 102.0 + second
        pace.note(50 + 10 * (second + 1))
    assert pace.per_s == 10
    now[0] += 40
    pace.note(650)
    assert pace.per_s == 0


def test_a_batch_in_hand_knows_its_steps_and_how_far_it_is() -> None:
    desk = Desk()
    with desk.work("job", 3, records=10) as work:
        with work.step("read"):
            pass
        work.embed(6)
        work.embed(6)
        assert [(w.job, w.number, w.embedded) for w in desk.works()] == [("job", 3, 10)]
    assert desk.works() == []
    assert list(work.seconds) == ["read"]
