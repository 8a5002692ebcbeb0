"""How a program ends: one clear line for each failure, no traceback, and an exit code."""

import io
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from worker.cli import console

EXIT_LOSSES = 3
EXIT_INTERRUPTED = 130
Kinds = tuple[type[Exception], ...]


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
