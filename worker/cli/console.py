"""What a person sees: lines, progress, summaries, tables.

All that the programs say goes through here (a test holds that), so that foreign text (names of
files and jobs, titles, reasons) is text: neither markup to rich nor a command to the terminal.
"""

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    ProgressColumn,
    Task,
)
from rich.table import Column
from rich.text import Text

from schemas.job import DeadLetter, Job, Reading, Rejection, State
from worker.addresses import shown
from worker.settings.environment import Settings
from worker.sources.streams import NOT_UTF_8

SHOWN_REJECTIONS = 5
SHOWN_CHARACTERS = 60
# C0 and C1, DEL, what breaks lines or turns their direction, halves of surrogate pairs.
COMMANDS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
ESCAPING = "doivec.escaping"


def visible(text: str) -> str:
    """The text with what a terminal would obey, or can't show, as JSON's escapes."""
    return COMMANDS.sub(lambda found: _escaped(found[0]), text)


def say(line: str, *, err: bool = False) -> None:
    """Print a line of text, or of JSON, as it is."""
    click.echo(visible(line), err=err)


def say_json(value: Any) -> None:
    """Print a value as a line of JSON; what JSON has no word for as its text."""
    say(json.dumps(value, ensure_ascii=False, default=str))


def say_row(values: Iterable[object]) -> None:
    """Print a row of a CSV table."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(values)
    say(row.getvalue())


def say_answer(answer: dict[str, Any], words: str, *, as_json: bool) -> None:
    """Print an answer in words, or as a line of JSON."""
    say(json.dumps(answer) if as_json else words)


def prepare() -> None:
    """Let standard output and standard error take any text, whatever their encoding."""
    codecs.register_error(ESCAPING, _escape)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors=ESCAPING)


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _escaped(error.object[error.start : error.end]), error.end


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Plain(Console):
    """A console to which every string is plain text."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as rich lays it out; every string that is printed comes by here."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


class Words(ProgressColumn):
    """A bar's column of text: a field of its task, else its description."""

    def __init__(self, field: str | None = None, *, style: str = "") -> None:
        super().__init__(Column(no_wrap=True))
        self._field = field
        self._style = style

    def render(self, task: Task) -> Text:
        """The text, of which nothing is markup."""
        words = task.fields[self._field] if self._field else task.description
        return Text(visible(words), style=self._style)


def visible_lines(lines: Iterable[str]) -> str:
    """Lines as one text, each of them visible."""
    return "\n".join(visible(line) for line in lines)


out = Plain()
err = Plain(stderr=True)


def shortened(text: str, characters: int) -> str:
    """A name of at most so many characters: what is left out of it is left out in the middle."""
    if len(text) <= characters:
        return text
    end = (characters - 1) // 2
    return f"{text[: characters - 1 - end]}…{text[len(text) - end :]}"


def places(settings: Settings, *, is_private: bool) -> tuple[str, str]:
    """Where Redis and Qdrant are: servers without their secrets, or a folder."""
    redis, qdrant = settings.redis.url, settings.qdrant.url
    folder = settings.data_dir.absolute()
    if folder.is_relative_to(Path.home()):
        folder = "~" / folder.relative_to(Path.home())
    return (
        shown(redis.get_secret_value())
        if redis and not is_private
        else f"a private Redis in {folder}",
        shown(qdrant) if qdrant else f"Qdrant Edge in {folder}",
    )


def print_place(settings: Settings, *, is_private: bool) -> None:
    """Where a command works, on standard error."""
    ledger, store = places(settings, is_private=is_private)
    is_one = is_private and not settings.qdrant.url
    err.print(store if is_one else f"{ledger}, {store}")


def print_summary(job: Job) -> None:
    """The counts of a job, on standard output."""
    seconds = (job.settled_at - job.created_at).total_seconds() if job.settled_at else 0.0
    rate = f", {job.accepted / seconds:,.0f} DOIs/s" if seconds and job.stored else ""
    out.print(f"job {job.id} {job.state} ({job.source}) in {seconds:,.1f} s{rate}")
    out.print(
        f"  read {job.read:,} = accepted {job.accepted:,} + repeated {job.repeated:,}"
        f" + invalid {job.invalid:,} + without a DOI {job.without_doi:,}"
    )
    states = ", ".join(f"{state} {getattr(job, state):,}" for state in State)
    out.print(f"  accepted {job.accepted:,} = {states}")
    if job.accepted and job.unchanged == job.accepted:
        out.print(f"  all {job.accepted:,} were there already")
    if job.note:
        out.print(f"  {job.note}")


def print_rejections(rejections: Iterable[Rejection], total: int) -> None:
    """The first few rejected lines, on standard error; an encoding is told in `print_reading`."""
    shown = [r for r in rejections if not r.reason.startswith(NOT_UTF_8)][:SHOWN_REJECTIONS]
    for rejection in shown:
        print_rejection(rejection)
    if total > len(shown):
        left = f"… and {total - len(shown):,} more" if shown else f"{total:,}"
        err.print(f"{left} rejected (--rejects FILE keeps them all)")


def print_rejection(rejection: Rejection) -> None:
    """A rejected line, on standard error."""
    source, line, raw, reason = rejection
    err.print(f"{source}:{line}: {reason}: {_cut(raw)!r}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def print_reading(reading: Reading, *, without_doi: int = 0) -> None:
    """Which columns of sources were read, and what of them was not, on standard error."""
    for source, used, unused in reading.columns:
        read = "; ".join(f"{field} from {', else '.join(names)}" for field, names in used.items())
        left = f"; not used: {', '.join(unused)}" if unused else ""
        err.print(f"{source}: {read or 'no column was read'}{left}")
    for note in reading.notes:
        err.print(note)
    if without_doi:
        err.print(f"rows without a DOI: {without_doi:,} (--rejects FILE keeps them all)")
    if reading.fields_dropped:
        err.print(f"fields dropped {reading.fields_dropped:,}; their records are kept:")
    for drop in reading.first_dropped[:SHOWN_REJECTIONS]:
        err.print(f"  {drop.source}:{drop.line}: {drop.field} {_cut(drop.value)!r}: {drop.reason}")


def print_dead(letters: Iterable[DeadLetter]) -> int:
    """A line for each dead letter; returns how many there were."""
    count = 0
    for letter in letters:
        line = f"{letter.job}  {letter.document.doi}  {letter.stage}: {letter.reason}"
        out.print(line)
        count += 1
    return count
