"""JSON that is not one object a line: the objects of an array, cut out as they come.

The array may be the whole text, or stand in what a registry answers (`items`, `message.items`,
`results`, `data`); objects one after the other, over any lines, are cut too.
"""

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from worker.errors import SourceError
from worker.sources.compression import BLOCK_BYTES
from worker.sources.streams import Line

# Crossref: items, in message; OpenAlex: results; DataCite, Lens: data; Dimensions: publications.
ARRAYS = {b'"items"', b'"results"', b'"data"', b'"works"', b'"records"', b'"publications"'}
ON_THE_WAY = {b'"message"'}
OWN = {b'"doi"', b'"DOI"'}
STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
TOKEN = re.compile(STRING + rb"|[{}\[\]]", re.DOTALL)
STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# All up to a bracket, or to a string that does not end in the block.
WITHIN = re.compile(rb'[^"{}\[\]]*+(?:' + STRING + rb'[^"{}\[\]]*+)*+', re.DOTALL)
BETWEEN = re.compile(rb'[^"{}\[\],]*+(?:' + STRING + rb'[^"{}\[\],]*+)*+', re.DOTALL)
BLANK = b" \t\r\n\x1e"


class Start(NamedTuple):
    """Where the first record of an array stands, and how many brackets are open round the array."""

    at: int
    depth: int


def array_start(head: bytes) -> Start | None:
    """Where the first record stands of the array of records in a JSON text that begins with `head`.

    None where there is none, or it does not begin in `head`.
    """
    ways: list[bool] = []  # of what is open, whether the array may be in it
    key = b""
    for token in TOKEN.finditer(head):
        sign = token[0]
        if sign in b"{[":
            is_array = sign == b"[" and (not ways or (ways[-1] and key in ARRAYS))
            if is_array and (not ways or head[token.end() :].lstrip(BLANK)[:1] in b"{]"):
                return Start(token.end(), len(ways))
            ways.append(not ways or (ways[-1] and key in ON_THE_WAY))
        elif sign in b"}]":
            ways = ways[:-1]
            if not ways:
                return None
        elif ways and ways[-1] and sign in OWN:
            return None  # it is a record itself
        else:
            key = sign
    return None


def elements(stream: io.BufferedReader, start: Start | None, *, limit: int) -> Iterator[Line]:
    """The values of an array that begins at `start`, each by the number of its first line.

    Without a start, the text is objects one after the other. Of a value longer than `limit` bytes,
    the first limit + 1; no more than that and a block is held. Raises `SourceError` where brackets
    don't match, the text ends within a value, or more records may stand behind the array.
    """
    at, depth = start or (0, 0)
    cutter = _Cutter(stream.read(at).count(b"\n") + 1, limit=limit)
    while not cutter.has_ended and (block := stream.read1(BLOCK_BYTES)):
        yield from cutter.feed(block)
    yield from cutter.end(is_array=start is not None)
    behind = _behind(stream, cutter, depth=depth, limit=limit)
    if any(True for _ in islice(behind, int(depth > 0), None)):
        raise SourceError("holds something behind its array of records, which is not read")


def _behind(
    stream: io.BufferedReader, cutter: "_Cutter", *, depth: int, limit: int
) -> Iterator[Line]:
    """What stands behind an array: the rest of the object that it is in, and what follows that."""
    rest = _Cutter(1, limit=limit, depth=depth)
    block = cutter.rest
    while block or (block := stream.read1(BLOCK_BYTES)):
        yield from rest.feed(block)
        block = b""
    yield from rest.end(is_array=False)


class _Cutter:
    """Cuts a JSON text between its values, a block at a time, by its brackets and strings."""

    def __init__(self, line: int, *, limit: int, depth: int = 0) -> None:
        self.has_ended = False  # with the bracket of the array
        self.rest = b""  # what stands behind that, in the block
        self._limit = limit
        self._line = line  # of what is kept next
        self._began = line  # where the value at hand begins
        self._kept = bytearray()
        self._depth = depth  # of the brackets round what is fed next
        self._in_string = False
        self._is_escaped = False  # the next block's first byte

    def feed(self, block: bytes) -> Iterator[Line]:
        """The values that end in a block."""
        begin = at = 0
        if self._in_string:
            at = self._leave_string(block)
        while not self._in_string and (at := self._bracket(block, at)) < len(block):
            sign, at = block[at : at + 1], at + 1
            self._depth += (sign in b"{[") - (sign in b"}]")
            if self._depth < 0:
                yield from self._cut(block[begin : at - 1])
                self.has_ended, self.rest = sign == b"]", block[at:]
                if not self.has_ended:
                    raise SourceError(f"its brackets don't match on line {self._line}")
                return
            if not self._depth and sign not in b"{[":
                yield from self._cut(block[begin : at - (sign == b",")])
                begin = at
        self._keep(block[begin:])

    def end(self, *, is_array: bool) -> Iterator[Line]:
        """The value that ends with the text."""
        if self._depth > 0 or self._in_string or (is_array and not self.has_ended):
            raise SourceError(f"its JSON ends too early, in what begins on line {self._began}")
        yield from self._cut(b"")

    def _bracket(self, block: bytes, at: int) -> int:
        """Where the next bracket stands, or comma between values; the end where there is none."""
        within = (WITHIN if self._depth else BETWEEN).match(block, at)
        found = within.end() if within else at
        if block[found : found + 1] == b'"':
            self._in_string = True
            self._note_escape(block[found + 1 :])
            return len(block)
        return found

    def _leave_string(self, block: bytes) -> int:
        end = STRING_END.match(block, int(self._is_escaped))
        self._in_string = end is None
        if end is None:
            self._note_escape(block[int(self._is_escaped) :])
            return len(block)
        return end.end()

    def _note_escape(self, string: bytes) -> None:
        self._is_escaped = (len(string) - len(string.rstrip(b"\\"))) % 2 == 1

    def _cut(self, piece: bytes) -> Iterator[Line]:
        self._keep(piece)
        if self._kept:
            yield self._began, bytes(self._kept).rstrip(BLANK)
            self._kept.clear()

    def _keep(self, piece: bytes) -> None:
        if not self._kept:
            whole, piece = piece, piece.lstrip(BLANK)
            self._line += whole.count(b"\n", 0, len(whole) - len(piece))
            self._began = self._line
        self._kept += piece[: max(0, self._limit + 1 - len(self._kept))]
        self._line += piece.count(b"\n")
