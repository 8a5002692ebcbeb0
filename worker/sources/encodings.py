"""Encodings: which one a text is in, and its bytes as UTF-8, as they come."""

import codecs
import io
import re
from typing import Any

from worker.errors import ConfigurationError, SourceError
from worker.sources.compression import BLOCK_BYTES

UTF_8 = "utf-8"
# The longest first: UTF-32's mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
TOLD_BYTES = 1024  # of a head, to tell UTF-16 by its NULs
NUL_SHARE = 0.4  # of every second byte, at least: names of columns and DOIs are ASCII
SAMPLE_BYTES = 64 * 1024
DAMAGED = "doivec.damaged"
# A half of a surrogate pair in UTF-8 is no UTF-8: the line that holds it is rejected by itself.
codecs.register_error(DAMAGED, lambda error: ("\udfff", getattr(error, "end", 0)))
# Not texts but notations, some of which take time that grows with the square of a length.
NOTATIONS = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"}
# What people's exports are in that are not UTF-8, the likeliest first, and what such a text has
# beside ASCII: letters that languages use, and the signs of word processors.
_WESTERN = (
    "àáâãäåæçèéêëìíîïñòóôõöøœùúûüýÿßšžðþÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØŒÙÚÛÜÝŠŽ"
    "‘’“”–—…•«»°±µ·×®©™§¿¡\u00a0€£²³"
)
_CJK = "\u3000-\u30ff\u4e00-\u9fff\uff00-\uff5e"  # not the half-width kana that Chinese looks to be
LIKELY = (
    ("cp1252", re.compile(f"[{_WESTERN}]")),
    ("cp1250", re.compile("[ąćęłńóśźżčďěňřšťůžýáíéúäöüßőűşţăâîŁŚŻŠČŘŽ–—“”„‘’]")),
    ("cp1251", re.compile("[а-яёА-ЯЁ](?=[а-яё ,.;]|$)")),
    ("mac_roman", re.compile(f"[{_WESTERN}]")),
    ("cp850", re.compile("[àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßÄÖÜÉ]")),
    ("euc_kr", re.compile("[\uac00-\ud7a3]")),
    ("cp932", re.compile(f"[{_CJK}]")),
    ("gb18030", re.compile(f"[{_CJK}]")),
)


def encoding_of(head: bytes) -> tuple[str, int]:
    """The Unicode encoding of a text that begins with `head`, and how long its mark is, in bytes.

    Without a byte order mark, UTF-16 is told by its NULs; all else counts as UTF-8.
    """
    for mark, name in MARKS:
        if head.startswith(mark):
            return name, len(mark)
    sample = head[:TOLD_BYTES]
    even, odd = sample[::2], sample[1::2]
    for name, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        is_ascii = high[:1] == b"\0" and low[:1].isascii() and low[:1].decode().isprintable()
        zeros = high.count(0)
        if is_ascii and zeros >= NUL_SHARE * len(high) and zeros > 10 * low.count(0):
            return name, 0
    return UTF_8, 0


def known_encoding(name: str) -> str:
    """The name, where Python reads texts in this encoding; else `ConfigurationError`."""
    try:
        found = codecs.lookup(name)
        b"a".decode(name, errors="replace")  # hex and rot13 are no encodings of texts
    except (LookupError, ValueError):  # a NUL in the name
        found = None
    if found is None or found.name in NOTATIONS or not found.incrementaldecoder:
        raise ConfigurationError(f"{name!r} is no encoding; cp1252, latin-1, utf-16, gb18030 are")
    return name


def likely_encoding(raw: bytes) -> str:
    """Which encoding some bytes look to be in that are not UTF-8: `cp1252`, unless others fit."""
    sample = raw[:SAMPLE_BYTES]
    best, most = LIKELY[0][0], -1.0
    for name, fitting in LIKELY:
        text = sample.decode(name, errors="replace")
        foreign = sum(not c.isascii() for c in text)
        # A character of two bytes counts as two, or a text of them would be likelier as Latin.
        share = len(fitting.findall(text)) / max(1, foreign)
        if share > most + 1e-9:
            best, most = name, share
    return best


class Recoded(io.RawIOBase):
    """A text's bytes as UTF-8, as they come; what is damaged is no UTF-8 either."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        name = codecs.lookup(encoding).name
        # What has no mark is in the order of the machines that most texts are made on.
        self._encoding = f"{name}-le" if name in {"utf-16", "utf-32"} else name
        self._decoder = codecs.getincrementaldecoder(self._encoding)(errors=DAMAGED)
        self._pending = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, block: Any) -> int:
        """Fill a block, if there is something left to fill it with."""
        while not self._pending and not self._ended:
            piece = self._stream.read1(BLOCK_BYTES)
            self._ended = not piece
            try:
                text = self._decoder.decode(piece, final=self._ended)
            except UnicodeError as error:  # one that leaves it to nobody
                raise SourceError(f"can't be read as {self._encoding}: {error}") from error
            self._pending = memoryview(text.encode(errors="surrogatepass"))
        size = min(len(block), len(self._pending))
        block[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size
