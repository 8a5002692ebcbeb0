"""The options by which a person says of sources what their bytes don't tell."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from worker.errors import ConfigurationError
from worker.sources.encodings import known_encoding
from worker.sources.formats import FORMATS
from worker.sources.options import SourceOptions


def source_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command --encoding, --format and --column, as its argument `options`."""

    @click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="FIELD=NAME",
        callback=_columns,
        help="Which column, or key of an object, a field is in: --column doi='Digital Object "
        "Identifier'. Without it, the names of common exports are known.",
    )
    @click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS, case_sensitive=False),
        help="The sources' format; without it, it is told by what they hold.",
    )
    @click.option(
        "--encoding",
        callback=_encoding,
        help="The encoding of texts that are not UTF-8: cp1252, latin-1, gb18030, ...",
    )
    @wraps(command)
    def with_options(
        *,
        encoding: str | None,
        format_: str | None,
        columns: dict[str, str],
        **given: Any,
    ) -> int:
        return command(options=SourceOptions(encoding, format_, columns), **given)

    return with_options


def _encoding(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    try:
        return known_encoding(name) if name else None
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from error


def _columns(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        field, sign, name = text.partition("=")
        if not sign or not name.strip() or field.strip() in found:
            raise click.BadParameter(f"FIELD=NAME is expected, each field once, not {text!r}")
        found[field.strip()] = name.strip()
    return found
