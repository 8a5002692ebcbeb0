"""Tables: delimited lines to rows, where quoted fields may hold lines and may be left open."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from worker.errors import SourceError
from worker.sources.columns import Columns
from worker.sources.streams import Line, Opened, decoded, lines
from worker.sources.text import says_nothing

DELIMITERS = {"csv": ",;\t|", "tsv": "\t,;|"}  # the likeliest first
PREAMBLE_LINES = 50
SEPARATOR = re.compile(rb'"?sep=(.)"?\s*')
HOLDS_DOI = re.compile(rb"\b10\.[0-9]{4,9}/\S")
BLANK = b" ,\t\r\n"
Row = dict[str, str]


class Header(NamedTuple):
    """A table's header line: the number of its first line, what separates its cells, and these."""

    line: int
    delimiter: str
    cells: list[str]


def header(opened: Opened, columns: Columns, *, kind: str = "csv") -> Header | None:
    """The first line that has all columns that a table must have; None where the head has none.

    Lines before it are a preamble. The delimiter is the one by which it has most cells.
    """
    found = opened.head.split(b"\n")
    whole = found if opened.is_whole else found[:-1]
    for number in range(1, min(len(whole), PREAMBLE_LINES) + 1):
        below = whole[number - 1 :]
        if not below[0].strip(BLANK):
            continue
        if HOLDS_DOI.search(below[0]):
            break  # a record
        read = [Header(number, d, _first_cells(below, d)) for d in DELIMITERS[kind]]
        known = [one for one in read if columns.has_all(one.cells)]
        if known:
            return max(known, key=lambda one: len(one.cells))
    return None


def table(
    opened: Opened, found: Header | None, *, columns: Columns, kind: str, limit: int
) -> tuple[Iterator[Line], Callable[[str], Row], list[str]]:
    """The rows below a header line, by their first lines' numbers, how to parse one, the preamble.

    Of a row, the fields that have a value are given by their names. Raises `SourceError` where
    the header line has not all columns that it must have, each once.
    """
    # csv's limit is one for the whole process, 128 KiB at first; ours is the record's.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    numbered = lines(opened.stream, limit=limit)
    above = list(islice(numbered, found.line - 1)) if found else []
    first = opened.head.lstrip().partition(b"\n")[0]
    delimiter = found.delimiter if found else _delimiter(first, kind)
    joined = _Rows((line for _, line in numbered), delimiter, first=len(above) + 1, limit=limit)
    blank = BLANK + delimiter.encode()
    rows = (row for row in joined if row[1].strip(blank))
    cells = _header_cells(next(rows, (0, b""))[1], delimiter, limit)
    if not columns.has_all(cells) and HOLDS_DOI.search(first):
        raise SourceError(
            "no header line: its first line holds a DOI; put the columns' names above it, or, "
            "where each line is one DOI, name it .txt (or give --format txt)"
        )
    record = partial(_record, delimiter=delimiter, width=len(cells), places=columns.places(cells))
    return rows, record, [line.decode(errors="replace") for _, line in above if line.strip(BLANK)]


def _first_cells(below: Sequence[bytes], delimiter: str) -> list[str]:
    limit = sum(len(line) + 1 for line in below)
    _, raw = next(iter(_Rows(iter(below), delimiter, first=1, limit=limit)))
    try:
        return _cells(raw.decode(errors="replace"), delimiter)
    except ValueError:
        return []


def _delimiter(line: bytes, kind: str) -> str:
    if separator := SEPARATOR.fullmatch(line):
        return separator[1].decode(errors="replace")
    return max(DELIMITERS[kind], key=lambda sign: line.count(sign.encode()))


def _header_cells(raw: bytes, delimiter: str, limit: int) -> list[str]:
    try:
        if len(raw) > limit:
            decoded(raw, limit)
        return _cells(raw.decode(errors="replace"), delimiter)
    except ValueError as error:
        raise SourceError(f"its header line can't be read: {error}") from error


def _record(text: str, *, delimiter: str, width: int, places: dict[str, list[int]]) -> Row:
    cells = _cells(text, delimiter)
    if any(cells[width:]):
        raise ValueError(f"{len(cells)} fields where the header line has {width}")
    found: Row = {}
    for field, columns in places.items():
        for place in columns:
            if place < len(cells) and (value := cells[place]) and not value.isspace():
                found.setdefault(field, value)
                if len(columns) == 1 or not says_nothing(value):
                    found[field] = value
                    break
    return found


def _cells(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        if delimiter == "\t":  # some .tsv have quoting (Excel's), some have none (IANA's)
            return text.split(delimiter)
        raise ValueError("a quoted field does not end where it should") from error


class _Rows:
    """Lines, but those that a quoted field runs across joined, by the first one's number.

    Where a quoted field does not end properly within `limit` bytes, its first line stands alone,
    and the others are lines of their own. What was read ahead of them is read once, not once for
    each of them, and kept as it is: a million blank lines are a million times the same object.
    """

    def __init__(self, lines: Iterator[bytes], delimiter: str, *, first: int, limit: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._first = first  # the number of the first line
        self._limit = limit
        # Lines read ahead that leave a quoted field open as they found it, how long they are with
        # their ends, the line after them, which does not, and whether it ends the field properly.
        self._open: deque[bytes] = deque()
        self._open_bytes = 0
        self._edge: bytes | None = None
        self._closes = False

    def __iter__(self) -> Iterator[Line]:
        number = self._first
        for line in iter(self._take, None):
            joined = [line, *self._field()] if self._opens(line) else [line]
            yield number, b"\n".join(joined)
            number += len(joined)

    def _take(self) -> bytes | None:
        if self._open:
            line = self._open.popleft()
            self._open_bytes -= len(line) + 1
            return line
        edge, self._edge = self._edge, None
        return next(self._lines, None) if edge is None else edge

    def _opens(self, line: bytes) -> bool:
        """Whether the record that begins with `line` runs on, and ends properly."""
        if b'"' not in line or not self._open_after(line, inside=False):
            return False
        size = len(line) + self._open_bytes
        while self._edge is None and size <= self._limit:
            if (more := next(self._lines, None)) is None:
                return False
            is_open = b'"' not in more or self._open_after(more, inside=True)
            if is_open:
                self._open.append(more)
                self._open_bytes += len(more) + 1
                size += len(more) + 1
            else:
                self._edge, self._closes = more, is_open is False
        return self._edge is not None and self._closes and size + len(self._edge) < self._limit

    def _field(self) -> list[bytes]:
        """The lines that end a record, taken."""
        found = [*self._open, self._edge or b""]
        self._open.clear()
        self._open_bytes, self._edge = 0, None
        return found

    def _open_after(self, line: bytes, *, inside: bool) -> bool | None:
        """Whether a quoted field is open at the end of `line`; None where quotes are misplaced."""
        text = ('"' if inside else "") + line.decode(errors="replace") + "\n"
        fed = iter((text, '"\n'))  # the second is asked for where the first leaves a field open
        try:
            next(csv.reader(fed, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        return next(fed, None) is None
