"""Foreign text is shown as it is: it is no markup, and it commands no terminal."""

import io
import json
from datetime import UTC, datetime

import pytest
from rich.progress import Progress
from rich.table import Table

from schemas.job import Job, JobState, Rejection
from schemas.search import Hit
from tests.support.paths import ROOT
from worker.cli import answers, console, status

MARKUP = "a[/]b [bold]c[/bold] [link=x] :smile: [red"
CODES = "\x1b[31m\x9b2J\r\b\x07\x7f\u202e\u2028\udcff\n"
SHOWN = r"\u001b[31m\u009b2J\u000d\u0008\u0007\u007f\u202e\u2028\udcff\u000a"


@pytest.fixture
def out() -> console.Plain:
    made = console.Plain()
    made.file = io.StringIO()
    made.width = 200
    return made


def printed(made: console.Plain) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def test_what_a_terminal_would_obey_is_escaped_as_json_does() -> None:
    assert console.visible(CODES) == SHOWN
    assert console.visible("Žižek’s “naïve” 中文 👍 a\u00a0b") == "Žižek’s “naïve” 中文 👍 a\u00a0b"
    text = json.dumps({"title": f"a{CODES}"}, ensure_ascii=False)
    assert json.loads(console.visible(text)) == {"title": f"a{CODES}"}


def test_no_string_is_markup_or_a_command(out: console.Plain) -> None:
    table = Table(MARKUP, title=MARKUP)
    table.add_row(MARKUP + CODES)
    out.print(MARKUP + CODES)
    out.print(MARKUP + CODES, markup=True, emoji=True)
    out.print(table)
    text = printed(out)
    assert text.count(MARKUP) == 5
    assert text.count(SHOWN) == 3
    assert "\x1b" not in text


def test_a_bars_label_is_text(out: console.Plain) -> None:
    with Progress(console.Words(), console.Words("rate"), console=out) as bar:
        bar.add_task(MARKUP + CODES, rate=MARKUP)
    assert MARKUP + SHOWN in printed(out)


def test_lines_and_tables_of_foreign_text(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(
        id="a[/]b",
        source=MARKUP + CODES,
        state=JobState.SETTLED,
        created_at=datetime.now(UTC),
        batch_records=1,
        note=MARKUP + CODES,
    )
    for line in status.of_jobs([job], [], now_s=job.created_at.timestamp(), width=80):
        console.out.print(line)
    console.print_summary(job)
    console.print_rejections([Rejection(MARKUP + CODES, 1, CODES, MARKUP)], 1)
    answers.print_hits([Hit(doi="10.1000/a", score=1.0, metadata={"title": MARKUP + CODES})])
    console.say_json({"title": MARKUP + CODES})
    captured = capsys.readouterr()
    for text in captured:
        assert "a[/]b" in text
        assert not console.COMMANDS.search(text.replace("\n", ""))
    assert json.loads(captured.out.splitlines()[-1]) == {"title": MARKUP + CODES}


SPEAKERS = ["click.echo", "rich.markup", "TextColumn", "Console(", "rich.print"]


@pytest.mark.parametrize("word", SPEAKERS)
def test_nothing_is_said_past_the_console(word: str) -> None:
    for package in ("worker", "trainer", "doivec"):
        for path in (ROOT / package).rglob("*.py"):
            said = word in path.read_text()
            assert not said or path == ROOT / "worker" / "cli" / "console.py", path
