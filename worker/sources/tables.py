"""Tables: delimited lines to rows, where quoted fields may hold lines and may be left open."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial

from worker.errors import SourceError
from worker.sources.streams import Line, decoded


def table(
    numbered: Iterator[Line], delimiter: str, *, columns: Sequence[Set[str]], limit: int
) -> tuple[Iterator[Line], Callable[[str], dict[str, str]]]:
    """The rows below a header line, by their first lines' numbers, and how to parse one.

    A row is parsed to its cells by lower-case column name. Raises `SourceError` where the header
    can't be read, or has not all columns of one set of `columns`, each once.
    """
    # csv's limit is one for the whole process, 128 KiB at first; ours is the record's.
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    joined = _Rows((line for _, line in numbered), delimiter, limit=limit)
    rows = (row for row in joined if row[1].strip(b" ,\t\r\n"))
    try:
        header = _cells(decoded(next(rows, (0, b""))[1], limit), delimiter)
    except ValueError as error:
        raise SourceError(f"its header line can't be read: {error}") from error
    names = [name.strip().casefold() for name in header]
    check_columns(names, columns)
    return rows, partial(_record, names=names, delimiter=delimiter)


def check_columns(names: Sequence[str], columns: Sequence[Set[str]]) -> None:
    """Raise `SourceError` unless `names` has all of one set of `columns`, each once."""
    present = next((wanted for wanted in columns if wanted <= set(names)), columns[0])
    for name in sorted(present):
        if names.count(name) != 1:
            count = "more than one" if name in names else "no"
            raise SourceError(f"{count} column `{name}` in its header line")


def _record(text: str, *, names: list[str], delimiter: str) -> dict[str, str]:
    cells = _cells(text, delimiter)
    if any(cells[len(names) :]):
        raise ValueError(f"{len(cells)} fields where the header line has {len(names)}")
    return dict(zip(names, cells, strict=False))


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

    def __init__(self, lines: Iterator[bytes], delimiter: str, *, limit: int) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._limit = limit
        # Lines read ahead that leave a quoted field open as they found it, how long they are with
        # their ends, the line after them, which does not, and whether it ends the field properly.
        self._open: deque[bytes] = deque()
        self._open_bytes = 0
        self._edge: bytes | None = None
        self._closes = False

    def __iter__(self) -> Iterator[Line]:
        number = 1
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
