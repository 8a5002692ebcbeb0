"""Tables: delimited lines to rows, where quoted fields may hold lines and may be left open."""

import csv
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from itertools import chain

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
    rows = (row for row in _rows(numbered, delimiter, limit=limit) if row[1].strip(b" ,\t\r\n"))
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


def _rows(numbered: Iterator[Line], delimiter: str, *, limit: int) -> Iterator[Line]:
    """Lines, but those that a quoted field runs across joined, by the first one's number.

    Where a quoted field does not end properly within `limit` bytes, its first line stands
    alone, and the others are read again as lines of their own.
    """
    ahead: deque[Line] = deque()

    def take() -> Line | None:
        return ahead.popleft() if ahead else next(numbered, None)

    for first in iter(take, None):
        taken = [first]
        rest = iter(take, None)  # its own, since one that has met the end stays at the end
        if b'"' in first[1] and not _closes(taken, rest, delimiter=delimiter, limit=limit):
            ahead.extendleft(reversed(taken[1:]))
            del taken[1:]
        yield first[0], b"\n".join(line for _, line in taken)


def _closes(taken: list[Line], rest: Iterator[Line], *, delimiter: str, limit: int) -> bool:
    """Whether the record that begins with `taken` ends properly; adds to it the lines it read."""

    def fed() -> Iterator[str]:
        size = 0
        for line in chain(tuple(taken), rest):
            if line is not taken[0]:
                taken.append(line)
            size += len(line[1])
            if size > limit:
                return
            yield line[1].decode(errors="replace") + "\n"

    try:
        return bool(next(csv.reader(fed(), delimiter=delimiter, strict=True), ()))
    except csv.Error:
        return False
