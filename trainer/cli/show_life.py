"""What a person sees of a model's life: a refine under way, and the history."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from rich.table import Column, Table

from schemas.history import Entry
from trainer.cli.progress import Steps, Texts
from trainer.cli.show import SHORT
from worker.cli.console import err, out, say

if TYPE_CHECKING:
    from trainer.evaluation import evaluate
    from trainer.training import following

NEXT = {
    "promoted": "doi-trainer rollback takes it back; doi-trainer show {} says where it comes from",
    "refused": "doi-trainer evaluate {} --full shows its figures; refine --full all reasons",
    "nothing new": "doi-trainer pairs import FILE, or doi-trainer refine --force",
}
ENTRIES = TypeAdapter(list[Entry])


class Screen:
    """Shows how far a refine is, on standard error."""

    def say(self, words: str) -> None:
        """Tell a line."""
        err.print(words)

    @contextmanager
    def training(self, name: str) -> "Iterator[following.Progress]":
        """Show the optimizer steps."""
        with Steps(name) as steps:
            yield steps.show

    @contextmanager
    def evaluating(self) -> "Iterator[evaluate.Progress]":
        """Show the texts and queries."""
        with Texts("evaluating") as texts:
            yield texts.show

    @contextmanager
    def promoting(self) -> "Iterator[evaluate.Progress]":
        """Show the records of each step."""
        with Texts("promoting") as texts:
            yield texts.show


def caution(words: str | None) -> None:
    """What a person may not expect, on standard error, where there is something."""
    if words is not None:
        err.print(words)


def refined(entry: Entry, *, full: bool, as_json: bool) -> None:
    """What came of a refine, and what to do next."""
    if as_json:
        say(entry.model_dump_json())
        return
    out.print(_end(entry))
    for reason in entry.details.get("reasons", ()) if full else ():
        out.print(f"- {reason}")
    if entry.outcome in NEXT:
        out.print(f"next: {NEXT[entry.outcome].format((entry.version or '')[:SHORT])}")


def history(entries: Sequence[Entry], *, as_json: bool) -> None:
    """What ran, newest first."""
    if as_json:
        say(ENTRIES.dump_json(list(entries)).decode())
        return
    if not entries:
        out.print("nothing ran yet")
        return
    table = Table(
        Column("when (UTC)", no_wrap=True),
        Column("what", no_wrap=True),
        Column("took", no_wrap=True),
        Column("version", no_wrap=True),
        "what came of it",
    )
    for entry in entries:
        version = (entry.version or "")[:SHORT]
        when = f"{entry.started_at:%Y-%m-%d %H:%M}"
        table.add_row(when, entry.kind, _span(entry.took), version, _end(entry))
    out.print(table)


def _end(entry: Entry) -> str:
    if entry.words.startswith(entry.outcome):
        return entry.words
    return f"{entry.outcome}: {entry.words}" if entry.words else entry.outcome


def _span(took: timedelta) -> str:
    return str(timedelta(seconds=round(took.total_seconds())))
