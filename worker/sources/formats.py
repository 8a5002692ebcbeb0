"""The formats that records come in, and what each must give to be read.

A format of text cuts lines into records, `records(lines, *, limit)`: of each the number of its
first line and its bytes, joined by line feeds, at most `limit` and one byte of them; it holds no
more than a few records in memory. `parse(text)` makes a mapping of one, of our names (`doi`,
`title`, `abstract`, `year`, `venue`; a text, or a list of texts) and of the format's own, for what
it has no use for; ValueError rejects the record.

A binary format gives `rows(path, *, columns, limit)`: of each row its number, counted from 1, and
its values by the file's own column names, of texts also their bytes.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

from worker.errors import SourceError
from worker.sources.columns import Columns
from worker.sources.compression import COMPRESSIONS
from worker.sources.elements import array_start, elements
from worker.sources.options import SourceOptions
from worker.sources.shapes import TABLES, comments_dropped, shape
from worker.sources.streams import STANDARD_INPUT, Line, Opened, decoded, lines
from worker.sources.tables import header, table
from worker.sources.tagged import ENDNOTE, NBIB, RIS, WEB_OF_SCIENCE

NumberedRows = Iterator[tuple[int, Mapping[str, Any]]]


class Records(Protocol):
    """Cuts lines into records."""

    def __call__(self, lines: Iterator[Line], *, limit: int) -> Iterator[Line]:
        """Records of at most `limit` bytes, and one more where there were more."""


class Rows(Protocol):
    """Reads a file's rows."""

    def __call__(self, path: Path, *, columns: Columns, limit: int) -> NumberedRows:
        """The rows, each by its number, with the columns that are wanted at least."""


class TextFormat(Protocol):
    """A format of text: how its lines are cut into records, and how one is parsed."""

    @property
    def records(self) -> Records:
        """Cuts lines into records."""

    def parse(self, text: str) -> Any:
        """What a record holds, by name."""


class Cut(NamedTuple):
    """A source cut into records, by the line or row where each begins, and how to read one.

    `read` gives a text, or a foreign mapping, or, with `is_picked`, one of our fields; ValueError
    rejects the record. `preamble` are lines above a table.
    """

    records: Iterable[tuple[int, Any]]
    read: Callable[[Any], Any]
    is_picked: bool = False
    preamble: tuple[str, ...] = ()


def _bibtex() -> TextFormat:
    from worker.sources.bibtex import Bibtex  # noqa: PLC0415 - most commands meet none of these,

    return Bibtex()  # and all three readers' libraries take longer to import than all else


def _parquet(path: Path, *, columns: Columns, limit: int) -> NumberedRows:
    from worker.sources import parquet  # noqa: PLC0415 - as above

    return parquet.rows(path, columns=columns, limit=limit)


def _workbook(path: Path, *, columns: Columns, limit: int) -> NumberedRows:
    from worker.sources import workbook  # noqa: PLC0415 - as above

    return workbook.rows(path, columns=columns, limit=limit)


# A file's own, since what one defines (abbreviations of BibTeX) is nothing to the next.
TEXTS: dict[str, Callable[[], TextFormat]] = {
    "ris": lambda: RIS,
    "nbib": lambda: NBIB,
    "wos": lambda: WEB_OF_SCIENCE,
    "enw": lambda: ENDNOTE,
    "bib": _bibtex,
}
BINARIES: dict[str, Rows] = {"parquet": _parquet, "xlsx": _workbook}
CELLS = re.compile(rb"\S\t\s*+\S")
FORMATS = ("txt", *TABLES, "jsonl", "json", *TEXTS, *BINARIES)


def cut(
    source: str, opened: Opened, *, options: SourceOptions, columns: Columns, limit: int
) -> Cut:
    """A source that was opened, as records; raises `SourceError` where it is no format."""
    found = header(opened, columns, kind="tsv" if _suffix(source) == ".tsv" else "csv")
    name = options.format or shape(opened, _suffix(source), has_header=lambda: bool(found))
    if name in BINARIES:
        rows = BINARIES[name](_path(source), columns=columns, limit=limit)
        return Cut(rows, partial(_row, limit=limit))
    text = partial(decoded, limit=limit)
    if name in TABLES:
        lines_of, parse, above = table(opened, found, columns=columns, kind=name, limit=limit)
        return Cut(lines_of, lambda raw: parse(text(raw)), is_picked=True, preamble=tuple(above))
    if name == "json":
        start = array_start(opened.head)
        return Cut(elements(opened.stream, start, limit=limit), lambda raw: _json(text(raw)))
    numbered = lines(opened.stream, limit=limit)
    if name in TEXTS:
        made = TEXTS[name]()
        columns.know_our_own_alone()
        return Cut(made.records(numbered, limit=limit), lambda raw: made.parse(text(raw)))
    if name == "jsonl":
        held = (line for line in numbered if line[1].strip())
        return Cut(held, lambda raw: _json(text(raw)))
    return Cut(_listed(comments_dropped(numbered), columns), text)


def _listed(lines: Iterator[Line], columns: Columns) -> Iterator[Line]:
    """The lines of a list; that some have several columns is noted: all but the DOI are lost."""
    is_noted = False
    for number, line in lines:
        if not is_noted and CELLS.search(line):
            is_noted = True
            columns.notes.append(
                f"line {number} has several columns: of each line the DOI alone is used; "
                "a first line with their names (such as doi, title) makes it a table"
            )
        yield number, line


def _suffix(source: str) -> str:
    path = PurePath(source.lower())
    return PurePath(path.stem).suffix if path.suffix in COMPRESSIONS else path.suffix


def _path(source: str) -> Path:
    if source == STANDARD_INPUT or PurePath(source.lower()).suffix in COMPRESSIONS:
        raise SourceError("such a file is read from its own path alone, not compressed")
    return Path(source)


def _row(row: Mapping[str, Any], *, limit: int) -> Mapping[str, Any]:
    return {name: _text(value, limit) for name, value in row.items()}


def _text(value: Any, limit: int) -> Any:
    """The text of bytes; what is none stays as it is, and costs its field."""
    try:
        return decoded(value, limit) if isinstance(value, bytes) else value
    except ValueError:
        return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:  # json's own error apart, only int's
        raise ValueError("JSON with a number of too many digits") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
