"""Markdown for the model card: tables, sections, and what may stand in them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from schemas.model import VERSION_CHARACTERS


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell is put on one line, and its bars are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def section(title: str, *parts: str) -> str:
    """A section of the second level; empty parts are left out."""
    return "\n\n".join([f"## {title}", *(part for part in parts if part)]) + "\n"


def code(value: Any) -> str:
    """A value as code; of a path of this machine only its last part."""
    local = isinstance(value, Path) or (isinstance(value, str) and Path(value).is_absolute())
    return f"`{f'.../{Path(value).name}' if local else value}`"


def short(version: str) -> str:
    """As much of a hash as a reader needs, as code."""
    return f"`{version[:VERSION_CHARACTERS]}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
