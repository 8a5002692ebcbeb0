"""How a program ends: one clear line for each failure, no traceback, and an exit code."""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

import click

from worker.cli import console

EXIT_LOSSES = 3
EXIT_INTERRUPTED = 130
Kinds = tuple[type[Exception], ...]


class Unread(io.FileIO):
    """A file that may be written to when nobody reads it any more: `doi-worker status | head`."""

    def write(self, data: Any, /) -> int:
        """Write, or do as if."""
        with suppress(BrokenPipeError):
            return super().write(data)
        return memoryview(data).nbytes


def run(
    cli: click.Command,
    arguments: Sequence[str] | None,
    *,
    name: str,
    failures: Kinds,
    interruptions: Kinds = (),
) -> NoReturn:
    """Run a program whose commands return their exit codes, and exit.

    An error of `failures` ends it with 1, one of `interruptions` (looked for first) with 130.
    """
    console.prepare()
    _go_on_unread()
    try:
        code = cli.main(arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        _show(error)
        code = error.exit_code
    except interruptions as error:
        console.say(f"{name}: {error}", err=True)
        code = EXIT_INTERRUPTED
    except failures as error:
        console.say(f"{name}: {error}", err=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        console.say("", err=True)
        console.say(f"{name}: interrupted; the same command goes on from here", err=True)
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _show(error: click.ClickException) -> None:
    usage = io.StringIO()
    error.show(usage)
    for line in usage.getvalue().rstrip().split("\n"):
        console.say(line, err=True)


def _go_on_unread() -> None:
    # What a command does, and its exit code, don't depend on whether its words are read.
    for name in ("stdout", "stderr"):
        if stream := getattr(sys, name):
            made = _unread(stream)
            setattr(sys, name, made)
            setattr(sys, f"__{name}__", made)  # Celery's


def _unread(stream: TextIO) -> TextIO:
    raw = Unread(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty() or stream is sys.stderr,
    )
