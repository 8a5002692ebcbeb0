"""Byte streams: a file or standard input, opened, decompressed, and cut into bounded lines."""

import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, cast

from worker.errors import SourceError

STANDARD_INPUT = "-"
FOREIGN = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the table as CSV",
    b"%PDF-": "a PDF",
    b"\x1f\x8b": "gzip data; its name must end in .gz",
    b"\xfd7zXZ\0": "xz data; its name must end in .xz",
    b"BZh": "bzip2 data; use gzip or xz",
    b"\x28\xb5\x2f\xfd": "Zstandard data; use gzip or xz",
}
BOM = b"\xef\xbb\xbf"
BLOCK_BYTES = 128 * 1024
XZ_MEMORY_BYTES = 100 * 2**20  # xz -9 needs 65 MiB (xz(1))

Line = tuple[int, bytes]


class _Xz:
    """The streams of an .xz file, one after the other, within a limit of memory.

    The header of each says how large a dictionary it needs, up to 4 GiB; `lzma.open` obeys.
    """

    def __init__(self, stream: io.BufferedReader, _mode: str) -> None:
        self._stream = stream
        self._decompressor = self._begun()

    def read1(self, size: int) -> bytes:
        """At most `size` bytes, of what can be had of one block; nothing at the end."""
        while True:
            given = b""
            if self._decompressor.eof:
                given = self._next_stream(self._decompressor.unused_data)
                if not given:
                    return b""
                self._decompressor = self._begun()
            elif self._decompressor.needs_input and not (given := self._stream.read1(BLOCK_BYTES)):
                raise EOFError
            if piece := self._decompressor.decompress(given, size):
                return piece

    def _next_stream(self, found: bytes) -> bytes:
        # Zeros may stand between two streams, and after the last.
        while not found.strip(b"\0") and (more := self._stream.read1(BLOCK_BYTES)):
            found = more
        return found.lstrip(b"\0")

    @staticmethod
    def _begun() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


class _Pieces(io.RawIOBase):
    """Decompressed bytes as they come.

    A buffer that asks gzip or lzma for a full block loses what came before damage in that block.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        piece = self._stream.read1(len(block))
        block[: len(piece)] = piece
        return len(piece)


COMPRESSIONS: dict[str, tuple[bytes, Callable[..., Any]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".xz": (b"\xfd7zXZ\0", _Xz),
}


@contextmanager
def opened(source: str, *, compression: str) -> Iterator[io.BufferedReader]:
    """The bytes of a path or of standard input (`-`), decompressed, without a byte order mark.

    `compression` is what the path's name says: `.gz`, `.xz` or nothing; that of standard input
    is told by its first bytes. What is read later may end early or be damaged, too.

    Raises `SourceError` in one line where the source can't be read or isn't what its name says.
    """
    try:
        with (
            _bytes(source) as stream,
            _buffered(_decompressed(stream, source, compression)) as plain,
        ):
            _refuse_foreign(plain)
            yield plain
    except EOFError as error:
        raise SourceError("cut off: its compressed data ends too early") from error
    except lzma.LZMAError as error:
        raise SourceError(_xz_trouble(error)) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"damaged compressed data: {error}") from error
    except OSError as error:
        raise SourceError(error.strerror or str(error)) from error


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
        raise ValueError(f"not UTF-8 at byte {error.start + 1}") from error


def _xz_trouble(error: lzma.LZMAError) -> str:
    if "Memory usage limit" in str(error):
        return (
            f"needs more than {XZ_MEMORY_BYTES >> 20} MiB of memory to be decompressed; "
            "compress it again with `xz -9` or less"
        )
    return f"damaged compressed data: {error}"


def _skip_line(stream: io.BufferedReader) -> None:
    while (piece := stream.readline(BLOCK_BYTES)) and not piece.endswith(b"\n"):
        pass


@contextmanager
def _bytes(source: str) -> Iterator[io.BufferedReader]:
    if source == STANDARD_INPUT:
        if sys.stdin is None:  # `<&-`
            raise SourceError("it is closed")
        with _buffered(sys.stdin.buffer) as stream:
            yield stream
    else:
        with Path(source).open("rb") as file:
            yield file


@contextmanager
def _buffered(stream: BinaryIO) -> Iterator[io.BufferedReader]:
    # In a buffer of its own, any stream can be peeked into and has readline in C. It is detached
    # at the end, or it would close what is not its own: standard input.
    reader = io.BufferedReader(cast(Any, stream), BLOCK_BYTES)
    try:
        yield reader
    finally:
        reader.detach()


def _decompressed(stream: io.BufferedReader, source: str, compression: str) -> BinaryIO:
    head = stream.peek(1)
    found = next((name for name, (magic, _) in COMPRESSIONS.items() if head.startswith(magic)), "")
    wanted = found if source == STANDARD_INPUT else compression
    if wanted != found and wanted:
        raise SourceError(f"not what its name says: it holds no {wanted[1:]} data")
    return cast(BinaryIO, _Pieces(COMPRESSIONS[wanted][1](stream, "rb"))) if wanted else stream


def _refuse_foreign(stream: io.BufferedReader) -> None:
    head = stream.peek(1)
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise SourceError(f"holds {what}")
    if head.startswith(BOM):
        stream.read(len(BOM))
