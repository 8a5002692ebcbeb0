"""What a person says of sources, where their bytes don't tell: an encoding, a format, columns."""

from collections.abc import Mapping
from typing import NamedTuple


class SourceOptions(NamedTuple):
    """How sources are to be read; by default all of it is told by what they hold.

    `encoding` is one that Python knows, `format` one of `worker.sources.formats.FORMATS`, and
    `columns` names the column of one of our fields, such as `{"doi": "Digital Object Identifier"}`.
    """

    encoding: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = {}
