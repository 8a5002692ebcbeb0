"""What the commands share: options, arguments, and how their help ends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from worker.sources.streams import is_same_file

T = TypeVar("T")


def spare_sources(
    context: click.Context, _parameter: click.Parameter, sources: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse a `--rejects` file that is one of the sources: to write it would empty them."""
    rejects = context.params.get("rejects")  # options are read before arguments
    if rejects and any(is_same_file(source, rejects) for source in sources):
        raise click.UsageError(f"--rejects {rejects} is one of the files to read")
    return sources


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")


def in_a_folder(
    _context: click.Context, _option: click.Parameter, path: Path | None
) -> Path | None:
    """Where the file can't be written, that is said before the work is done."""
    if path and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise click.BadParameter(f"there is no folder {path.parent} that can be written")
    return path


def checked(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """An option's callback: what `parse` makes of the value, its ValueError as wrong usage."""

    def parsed(_context: click.Context, _option: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return parsed


rejects_file = click.option(
    "--rejects",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=in_a_folder,
    help="Write every rejected line to this file, as JSON lines.",
)
sources_argument = click.argument(
    "sources", nargs=-1, required=True, metavar="SOURCE...", callback=spare_sources
)


class Group(click.Group):
    """A group whose commands each have an example."""

    def example(self, line: str, **options: Any) -> Callable[[Callable[..., int]], click.Command]:
        """Add a command whose help ends with an example."""
        return self.command(epilog=f"Example: {line}", **options)
