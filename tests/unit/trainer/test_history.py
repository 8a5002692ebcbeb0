"""The history survives crashes and several writers, and is not read wrong."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.history import Entry
from trainer.history import History

STARTED = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
WRITER = """
import sys
from pathlib import Path
from schemas.history import Entry
from trainer.history import History

for number in range(100):
    entry = Entry(kind="prune", started_at=0, ended_at=1, outcome="pruned", words="w" * 3000,
                  details={"writer": sys.argv[2], "number": number})
    History(Path(sys.argv[1])).append(entry)
"""


def entry(words: str = "") -> Entry:
    return Entry(
        kind="refine",
        started_at=STARTED,
        ended_at=STARTED + timedelta(minutes=90),
        outcome="promoted",
        version="b" * 64,
        previous="a" * 64,
        words=words,
        details={"points": 20_000, "reasons": ["better", "by more than chance"]},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trainer" / "history.jsonl"


def test_what_was_appended_is_read_in_order(path: Path) -> None:
    history = History(path)
    assert history.entries() == []
    history.append(entry("first"))
    history.append(entry("Grüße\nzwei\u2028Zeilen"))
    assert History(path).entries() == [entry("first"), entry("Grüße\nzwei\u2028Zeilen")]
    assert history.entries()[0].took == timedelta(minutes=90)
    assert path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("torn_at", [1, 40, -1])
def test_a_torn_last_line_is_skipped_and_cut_off_by_the_next_append(
    path: Path, torn_at: int
) -> None:
    history = History(path)
    history.append(entry("first"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:torn_at])
    assert [e.words for e in history.entries()] == ["first"]
    history.append(entry("second"))
    assert [e.words for e in history.entries()] == ["first", "second"]
    assert path.read_bytes().startswith(whole)


def test_a_line_that_cannot_be_read_hides_no_other(path: Path) -> None:
    history = History(path)
    history.append(entry("first"))
    with path.open("a") as file:
        file.write('{"kind": "dance"}\n')
    history.append(entry("second"))
    assert [e.words for e in history.entries()] == ["first", "second"]


def test_who_was_live_is_known_and_who_was_rolled_back_is_left_out(path: Path) -> None:
    history = History(path)
    steps = (
        ("promote", "switched", "b", "a"),
        ("promote", "refused", "x", "b"),
        ("refine", "promoted", "c", "b"),
        ("rollback", "switched", "b", "c"),
        ("promote", "switched", "d", "b"),
        ("prune", "pruned", None, None),
    )
    assert history.champions() == []
    for kind, outcome, version, previous in steps:
        changes = {"kind": kind, "outcome": outcome, "version": version, "previous": previous}
        history.append(entry().model_copy(update=changes))
    assert history.champions() == ["a", "b", "d"]
    history.append(entry().model_copy(update={"version": "d", "previous": "b"}))  # the refine's
    lives = [(reign.version, reign.by) for reign in history.reigns()]
    assert lives == [
        *(("a", None), ("b", "promote"), ("c", "refine"), ("b", "rollback"), ("d", "promote"))
    ]


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    back = entry().model_copy(update={"ended_at": STARTED - timedelta(hours=1)})
    assert back.took == timedelta(0)


def test_two_processes_may_write_at_once(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = [(e.details["writer"], e.details["number"]) for e in History(path).entries()]
    assert sorted(found) == [(name, number) for name in ("a", "b") for number in range(100)]


def test_an_entry_cannot_be_changed_and_its_times_have_a_zone() -> None:
    with pytest.raises(ValidationError):
        entry().words = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Entry(
            kind="prune",
            started_at=datetime(2026, 1, 1),
            ended_at=STARTED,
            outcome="pruned",
        )
