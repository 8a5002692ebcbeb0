"""Workbooks (.xlsx): the rows of the first sheet that has the columns which a table must have.

openpyxl reads a sheet row by row, but a row may unfold to anything; so what is taken from the
archive before a row is done is limited. Its own sheets read all of one that doesn't tell its size,
and fill up rows to the width that another tells; so its parser is used, without them.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, time
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils.escape import unescape
from openpyxl.worksheet._reader import WorkSheetParser

from worker.errors import SourceError
from worker.sources.columns import Columns

MOST_ROWS = 2**20  # that a sheet has in Excel; of each, 16,384 columns
ROW_BYTES, ROW_TAGS = 16 * 2**20, 200_000
SHARED_BYTES, SHARED_TAGS = 128 * 2**20, 4_000_000  # the texts of all cells, which are in memory
SHARED = "sharedStrings.xml"
HEADER_ROWS = 50  # in which the header line is looked for
# What zipfile, expat and openpyxl raise of what they don't understand.
DAMAGE = (
    *(BadZipFile, OSError, EOFError, zlib.error, LZMAError, struct.error, NotImplementedError),
    *(SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    RuntimeError,
)
Row = tuple[int, list[str | None]]


def rows(
    path: Path, *, columns: Columns, limit: int
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows below a header line, by their numbers: the texts of cells by the columns' names.

    The header line is the first, near the top of a sheet, that has all columns that a table must
    have; that other sheets have them, too, is noted. A cell of more than `limit` characters is cut
    after them, so that it is told to be too long. Raises `SourceError` where there is no header
    line, and for what is no workbook.
    """
    with path.open("rb") as file:
        book = _Book(file)
        sheets = book.sheets()
        header, found = _table(sheets, columns)
        columns.places(header)
        for number, cells in found:
            if any(cells):
                cut = [cell and cell[: limit + 1] for cell in cells[: len(header)]]
                padded = cut + [None] * (len(header) - len(cut))
                yield number, dict(zip(reversed(header), reversed(padded), strict=True))
        with suppress(SourceError):  # what is damaged behind them costs no rows
            if columns.has_all(_table(sheets, columns)[0]):
                # It may hold other papers, or those that the papers cite.
                columns.notes.append("another of its sheets has these columns; it is not read")


def _table(sheets: Iterator[Iterator[Row]], columns: Columns) -> tuple[list[str], Iterator[Row]]:
    """The header line, and the rows below it; where there is none, the first line and nothing."""
    first: list[str] = []
    for sheet in sheets:
        for _, (_, cells) in zip(range(HEADER_ROWS), sheet, strict=False):
            header = [cell or "" for cell in cells]
            first = first or (header if any(header) else [])
            if columns.has_all(header):
                return header, sheet
    return first, iter(())


class _Part(io.RawIOBase):
    """A part of an archive, of which no more than so much is read at once: see `begin`."""

    def __init__(self, part: IO[bytes], name: str) -> None:
        self._part = part
        self._name = name
        is_shared = name.endswith(SHARED)
        self._bytes, self._tags = (
            (SHARED_BYTES, SHARED_TAGS) if is_shared else (ROW_BYTES, ROW_TAGS)
        )
        self.begin()

    def begin(self) -> None:
        """What is read from here on counts."""
        self._bytes_left, self._tags_left = self._bytes, self._tags

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        piece = self._part.read(len(block))
        self._bytes_left -= len(piece)
        self._tags_left -= piece.count(b"<")
        if min(self._bytes_left, self._tags_left) < 0:
            what = "holds" if self._name.endswith(SHARED) else "holds a row of"
            raise SourceError(
                f"its {self._name} {what} more than {self._bytes >> 20} MiB or {self._tags:,} tags;"
                " save the table as CSV"
            )
        block[: len(piece)] = piece
        return len(piece)


class _Archive(ZipFile):
    """A workbook's archive, whose parts are read a little at a time."""

    def open(self, name: Any, *_: Any, **__: Any) -> IO[bytes]:
        self.part = _Part(super().open(name), str(name))
        return io.BufferedReader(self.part)


class _Book:
    """The sheets of a workbook, in their order."""

    def __init__(self, file: IO[bytes]) -> None:
        with _told():
            self._archive = _Archive(file)
            self._reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
            self._reader.archive = self._archive
            self._reader.read_manifest()
            self._reader.read_strings()
            self._reader.read_workbook()
            apply_stylesheet(self._archive, self._reader.wb)
            sheets = [rel for _, rel in self._reader.parser.find_sheets()]
            there = {*self._archive.namelist()}
            self._paths = [r.target for r in sheets if r.target in there and "chart" not in r.Type]

    def sheets(self) -> Iterator[Iterator[Row]]:
        return map(self._rows, self._paths)

    def _rows(self, path: str) -> Iterator[Row]:
        with _told():
            parser = self._parser(path)
            parsed, part = parser.parse(), self._archive.part
        for _ in range(MOST_ROWS):
            with _told():
                if (row := next(parsed, None)) is None:
                    return
                found = row[0], _cells(row[1])
            part.begin()
            parser.row_dimensions.clear()
            yield found
        raise SourceError(f"a sheet of more than {MOST_ROWS:,} rows")

    def _parser(self, path: str) -> WorkSheetParser:
        book = self._reader.wb
        return WorkSheetParser(
            self._archive.open(path),
            self._reader.shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,  # type: ignore[attr-defined]
            timedelta_formats=book._timedelta_formats,  # type: ignore[attr-defined]
        )


def _cells(row: Sequence[dict[str, Any]]) -> list[str | None]:
    width = max((cell["column"] for cell in row), default=0)
    cells: list[str | None] = [None] * width
    for cell in row:
        cells[cell["column"] - 1] = _text(cell["value"])
    return cells


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return unescape(value) if "_x" in value else value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return str(value)


@contextmanager
def _told() -> Iterator[None]:
    """Raise `SourceError` in a line for damage; what openpyxl warns of is none of our fields."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DAMAGE as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise SourceError(f"damaged, or no workbook: {reason}") from error
