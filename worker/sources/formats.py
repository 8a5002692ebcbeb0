"""The formats that records come in, and what each must give to be read.

A format of text cuts lines into records, `records(lines, *, limit)`: of each the number of its
first line and its bytes, joined by line feeds, at most `limit` and one byte of them; it holds no
more than a few records in memory. `parse(text)` makes a record of it: a mapping of our names (`doi`, `title`,
`abstract`, `year`, `venue`; a text, or a list of texts) and of the format's own, for what it has
no use for; ValueError rejects the record.

A binary format gives `rows(path, *, limit)`: of each row its number, counted from 1, and its
values by the file's own column names.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from worker.sources.streams import Line


class Records(Protocol):
    """Cuts lines into records of at most `limit` bytes, and one more where there were more."""

    def __call__(self, lines: Iterator[Line], *, limit: int) -> Iterator[Line]: ...


class TextFormat(NamedTuple):
    """A format of text: how its lines are cut into records, and how one is parsed."""

    records: Records
    parse: Callable[[str], Any]
