"""Compressed data: told by its first bytes, decompressed as it comes, in bounded memory."""

import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from zstandard import ZstdDecompressor, ZstdError

BLOCK_BYTES = 128 * 1024
XZ_MEMORY_BYTES = 100 * 2**20  # xz -9 needs 65 MiB (xz(1))
ZST_WINDOW_BYTES = 128 * 2**20  # of `zstd --ultra -22`, the most without --long (zstd(1))
ZST_PIECE_BYTES = 512  # a block of 128 KiB may have 4 bytes (RFC 8878, 3.1.1.2): to 16 MiB at most


class Xz:
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


class BadZstFile(OSError):
    """What was read is not Zstandard data, or is damaged, or needs too much memory."""


class Zst:
    """The frames of a .zst file, one after the other, within a limit of memory.

    Not the library's own reader: it takes data that ends early for whole.
    """

    def __init__(self, stream: io.BufferedReader, _mode: str) -> None:
        self._stream = stream
        self._block, self._at = b"", 0
        self._text = memoryview(b"")
        self._frame = self._begun()

    def read1(self, size: int) -> bytes:
        """At most `size` bytes; nothing at the end."""
        while not self._text:
            if self._at == len(self._block):
                self._block, self._at = self._stream.read1(BLOCK_BYTES), 0
            if not self._block:
                if self._frame.eof:
                    return b""
                raise EOFError
            if self._frame.eof:
                self._frame = self._begun()
            piece = self._block[self._at : self._at + ZST_PIECE_BYTES]
            self._text = memoryview(self._decompressed(piece))
            self._at += len(piece) - len(self._frame.unused_data)
        found, self._text = self._text[:size], self._text[size:]
        return bytes(found)

    @staticmethod
    def _begun() -> Any:  # its class has no name at run time
        return ZstdDecompressor(max_window_size=ZST_WINDOW_BYTES).decompressobj()

    def _decompressed(self, piece: bytes) -> bytes:
        try:
            return bytes(self._frame.decompress(piece))
        except ZstdError as error:
            raise BadZstFile(_zst_trouble(error)) from error


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
    ".xz": (b"\xfd7zXZ\0", Xz),
    ".zst": (b"\x28\xb5\x2f\xfd", Zst),
}


def decompressed(stream: io.BufferedReader) -> BinaryIO:
    """The bytes that a stream holds, compressed or not; damage raises when it is come to."""
    head = stream.peek(1)
    for magic, begun in COMPRESSIONS.values():
        if head.startswith(magic):
            return cast(BinaryIO, _Pieces(begun(stream, "rb")))
    return stream


def xz_trouble(error: lzma.LZMAError) -> str:
    """What is wrong with .xz data, in a line."""
    if "Memory usage limit" in str(error):
        return (
            f"needs more than {XZ_MEMORY_BYTES >> 20} MiB of memory to be decompressed; "
            "compress it again with `xz -9` or less"
        )
    return f"damaged compressed data: {error}"


def _zst_trouble(error: ZstdError) -> str:
    if "too much memory" in str(error):
        return (
            f"needs more than {ZST_WINDOW_BYTES >> 20} MiB of memory to be decompressed; "
            "compress it again without `--long`"
        )
    return f"damaged compressed data: {str(error).removeprefix('zstd decompressor error: ')}"
