"""Byte streams: a file or standard input, opened, as UTF-8, and cut into bounded lines."""

import codecs
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePath
from stat import S_ISREG
from typing import Any, BinaryIO, NamedTuple, cast

from worker.errors import SourceError
from worker.sources.compression import BLOCK_BYTES, COMPRESSIONS, decompressed, xz_trouble
from worker.sources.encodings import UTF_8, Recoded, encoding_of

STANDARD_INPUT = "-"
BOM = codecs.BOM_UTF8
HEAD_BYTES = 64 * 1024
NOT_UTF_8 = "not UTF-8"

# By their first bytes.
BINARY = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as .xlsx or CSV",
    b"%PDF-": "a PDF",
    b"BZh": "bzip2 data; use gzip, xz or zstd",
    b"{\\rtf": "a text of a word processor (RTF)",
    b"SQLite format 3\0": "an SQLite database",
}

Line = tuple[int, bytes]


class NotUtf8(ValueError):
    """A record that is not UTF-8 text."""


class Opened(NamedTuple):
    """A source's bytes and the first of them: of a text as UTF-8, with line feeds."""

    stream: io.BufferedReader
    head: bytes
    is_whole: bool  # whether the head is all that there is
    position: Callable[[], int] = lambda: 0  # how many bytes of the source were read, packed ones


class _Resumed(io.RawIOBase):
    """Bytes that were read ahead, and those after them, or the error that came instead."""

    def __init__(self, stream: Any, *, enough: Callable[[bytes], bool]) -> None:
        self._stream = stream
        self._error: Exception | None = None
        self.head = b""
        self.is_whole = False
        while not self.is_whole and len(self.head) < HEAD_BYTES and not enough(self.head):
            try:
                piece = stream.read1(HEAD_BYTES - len(self.head))
            except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
                self._error = error  # it is raised behind what came before
                break
            self.is_whole = not piece
            self.head += piece
        self._left = memoryview(self.head)

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        if not self._left and self._error:
            raise self._error
        piece = self._left[: len(block)] if self._left else self._stream.read1(len(block))
        self._left = self._left[len(piece) :]
        block[: len(piece)] = piece
        return len(piece)


class _LineFeeds(io.RawIOBase):
    """A text whose lines end with carriage returns alone, with line feeds."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        piece = self._stream.read1(len(block)).replace(b"\r", b"\n")
        block[: len(piece)] = piece
        return len(piece)


@contextmanager
def opened(
    source: str,
    *,
    encoding: str | None = None,
    enough: Callable[[bytes], bool] = lambda _: False,
) -> Iterator[Opened]:
    """The bytes of a path or of standard input (`-`), decompressed; texts as UTF-8 without a mark.

    Compression is told by the first bytes, UTF-16 and UTF-32 too; another encoding is `encoding`.
    Lines may end with carriage returns alone. Of standard input no more is read ahead than until
    `enough` says so of what there is. What is read later may end early or be damaged.

    Raises `SourceError` in one line where the source can't be read.
    """
    try:
        with _bytes(source) as stream:
            _refuse_empty(stream, source)
            # A pipe may be slow, and each of its lines wanted.
            told = enough if source == STANDARD_INPUT else lambda _: False
            made = _as_text(_buffered(decompressed(stream)), encoding, told)
            yield made if source == STANDARD_INPUT else made._replace(position=stream.tell)
    except EOFError as error:
        raise SourceError("cut off: its compressed data ends too early") from error
    except lzma.LZMAError as error:
        raise SourceError(xz_trouble(error)) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"damaged compressed data: {error}") from error
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error


def binary_kind(head: bytes) -> str | None:
    """What bytes that are no text are; None for a text."""
    return next((what for magic, what in BINARY.items() if head.startswith(magic)), None)


def source_name(source: str) -> str:
    """What to call a source: its path as text, whatever its bytes are, or `standard input`."""
    if source == STANDARD_INPUT:
        return "standard input"
    return os.fsencode(source).decode(errors="backslashreplace")


def is_same_file(source: str, path: Path) -> bool:
    """Whether a source is the regular file at `path`, under whatever name."""
    try:
        given = os.fstat(0) if source == STANDARD_INPUT else Path(source).stat()
        return S_ISREG(given.st_mode) and os.path.samestat(given, path.stat())
    except OSError:
        return False  # one of them is not there


def lines(stream: io.BufferedReader, *, limit: int) -> Iterator[Line]:
    """Numbered lines without their ends; of one longer than `limit` bytes, the first limit + 1."""
    longest = limit + len(b"\r\n")
    for number, line in enumerate(iter(partial(stream.readline, longest), b""), start=1):
        if len(line) == longest and not line.endswith(b"\n"):
            _skip_line(stream)
        yield number, line.removesuffix(b"\n").removesuffix(b"\r")[: limit + 1]


def decoded(raw: bytes, limit: int) -> str:
    """The text of a line or record; ValueError for a long one, a NUL, and what is not UTF-8."""
    if len(raw) > limit:
        raise ValueError(f"longer than the limit of {limit} bytes")
    if (zero := raw.find(0)) >= 0:
        raise ValueError(f"a NUL at byte {zero + 1}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8(f"{NOT_UTF_8} at byte {error.start + 1}") from error


def _skip_line(stream: io.BufferedReader) -> None:
    while (piece := stream.readline(BLOCK_BYTES)) and not piece.endswith(b"\n"):
        pass


@contextmanager
def _bytes(source: str) -> Iterator[io.BufferedReader]:
    if source == STANDARD_INPUT:
        if sys.stdin is None:  # `<&-`
            raise SourceError("it is closed")
        # In a buffer of its own, any stream can be peeked into. It is detached at the end, or it
        # would close what is not its own.
        stream = _buffered(sys.stdin.buffer)
        try:
            yield stream
        finally:
            stream.detach()
    else:
        with Path(source).open("rb") as file:
            yield file


def _buffered(stream: BinaryIO | io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(cast(Any, stream), BLOCK_BYTES)


def _refuse_empty(stream: io.BufferedReader, source: str) -> None:
    suffix = PurePath(source.lower()).suffix
    if suffix in COMPRESSIONS and not stream.peek(1):
        raise SourceError(f"empty: it holds no {suffix[1:]} data")


def _as_text(stream: Any, encoding: str | None, enough: Callable[[bytes], bool]) -> Opened:
    ahead = _Resumed(stream, enough=enough)
    if binary_kind(ahead.head):
        return Opened(_buffered(ahead), ahead.head, ahead.is_whole)
    unicode, mark = encoding_of(ahead.head)
    name = unicode if mark or unicode != UTF_8 or not encoding else encoding
    plain = _buffered(ahead)
    plain.read(mark)
    if name != UTF_8:
        ahead = _Resumed(_buffered(Recoded(plain, name)), enough=enough)
        plain, mark = _buffered(ahead), 0
    head = ahead.head[mark:]
    if b"\r" in head[:-1] and b"\n" not in head:
        plain, head = _buffered(_LineFeeds(plain)), head.replace(b"\r", b"\n")
    return Opened(plain, head, ahead.is_whole)
