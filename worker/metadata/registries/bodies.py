"""Bodies of answers: bounded, inflated, and parsed, whatever a server sends."""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

BODY_BYTES = 32 * 1024 * 1024  # a record with ten thousand references has five
PIECE_BYTES = 1024 * 1024
SHOWN_CHARACTERS = 120
GZIP, DEFLATE = 31, 47  # zlib's wbits
ENCODINGS = {"": 0, "identity": 0, "gzip": GZIP, "x-gzip": GZIP, "deflate": DEFLATE}


class Malformed(ValueError):
    """A body that is not what it should be; the message says in which way."""


def whole(pieces: Iterable[bytes], *, encoding: str, limit: int = BODY_BYTES) -> bytes:
    """The body whose pieces came encoded so, of at most `limit` bytes; raises `Malformed`."""
    wbits = ENCODINGS.get(encoding.strip().lower())
    if wbits is None:
        raise Malformed("in an encoding that was not asked for")
    body = bytearray()
    for piece in _inflated(pieces, wbits) if wbits else pieces:
        body += piece
        if len(body) > limit:
            raise Malformed(f"longer than {limit} bytes")
    return bytes(body)


def _inflated(pieces: Iterable[bytes], wbits: int) -> Iterator[bytes]:
    inflating = zlib.decompressobj(wbits)
    try:
        for piece in pieces:
            rest = piece
            while rest and not inflating.eof:
                yield inflating.decompress(rest, PIECE_BYTES)
                rest = inflating.unconsumed_tail
    except zlib.error as error:
        raise Malformed("not compressed as it says") from error
    if not inflating.eof:
        raise Malformed("cut short")


def parsed(body: bytes) -> Any:
    """The value of a body of JSON, with `null` for NaN; raises `Malformed`."""
    try:
        return json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON") from error


def shown(body: bytes, *, without: Iterable[str]) -> str:
    """The beginning of a foreign text, escaped, on one line, with none of our secrets."""
    text = body[: PIECE_BYTES // 16].decode(errors="replace")
    for secret in without:
        text = text.replace(secret, "...")
    return repr(" ".join(text[: 8 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS])
