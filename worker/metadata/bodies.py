"""How the fields of a record lie in the index: compressed with a dictionary of such records.

A body is the number of its dictionary, four bytes by which its DOI is told from another with the
same key, and a Zstandard frame with a checksum. Number 0 is no dictionary. A dictionary is never
changed, so what an older one made stays readable beside a newer one.

In the frame the fields stand one after the other, with a sign between that no clean text holds;
JSON would take a fifth of the time of a look-up.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

from zstandard import (
    FORMAT_ZSTD1_MAGICLESS,
    ZstdCompressionDict,
    ZstdCompressionParameters,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
    train_dictionary,
)

from schemas.document import Document

SIGN = "\x1f"
# Measured on real titles with a quarter of abstracts: 112 KiB, zstd's default, take 5 % more.
DICTIONARY_BYTES = 256 * 1024
LEVEL = 6  # 9: 2 % less, for a third more time
SAMPLES = 20_000
FEWEST_SAMPLES = 2_000  # a dictionary made of less is of no use
SEGMENT_BYTES, MATCH_BYTES = 200, 8  # zdict.h, k and d: with both given, it doesn't try others
LONGEST_BYTES = 8 * 2**20
NONE = 0  # the number of no dictionary
CHECK = slice(1, 5)
HEAD_BYTES = 5


class Key(NamedTuple):
    """A DOI in the index: 60 bits of a hash, and four bytes of it more, kept with the body."""

    hash: int
    check: bytes

    @classmethod
    def of(cls, doi: str) -> "Key":
        """The key of a canonical DOI; that two of 180 million share all of it has odds of 1e-12."""
        digest = blake2b(doi.encode(), digest_size=12).digest()
        return cls(int.from_bytes(digest[:8], "big") >> 4, digest[8:])


class Damaged(ValueError):
    """A body that is not what was written."""


class Packer:
    """Makes bodies with one dictionary."""

    def __init__(self, number: int, dictionary: bytes) -> None:
        self._number = bytes([number])
        made = ZstdCompressionDict(dictionary) if number else None
        # The dictionary's own level decides, once it is prepared; each body's would cost 100 us.
        parameters = ZstdCompressionParameters.from_level(
            LEVEL, format=FORMAT_ZSTD1_MAGICLESS, write_checksum=True, write_dict_id=False
        )
        self._zstd = ZstdCompressor(dict_data=made, compression_params=parameters)

    def body(self, key: Key, document: Document, *, abstract: bool = True) -> bytes:
        """The body of a document; without its abstract, where that is not wanted."""
        return self._number + key.check + self._zstd.compress(text(document, abstract=abstract))


class Reader:
    """Reads bodies of any of the dictionaries."""

    def __init__(self, dictionaries: Mapping[int, bytes]) -> None:
        made = {number: ZstdCompressionDict(held) for number, held in dictionaries.items()}
        self._zstd = {
            number: ZstdDecompressor(dict_data=held, format=FORMAT_ZSTD1_MAGICLESS)
            for number, held in {NONE: None, **made}.items()
        }

    def document(self, doi: str, body: bytes, *, source: str) -> Document:
        """The document that a body holds; raises `Damaged`."""
        try:
            title, venue, year, abstract = self.text(body).decode().split(SIGN)
            return Document(
                doi=doi,
                source=source,
                title=title or None,
                venue=venue or None,
                year=int(year) if year else None,
                abstract=abstract or None,
            )
        except ValueError as error:
            raise Damaged("a record is not as it was written") from error

    def text(self, body: bytes) -> bytes:
        """What was compressed; raises `Damaged`."""
        try:
            return self._zstd[body[0]].decompress(body[HEAD_BYTES:], LONGEST_BYTES)
        except (ZstdError, LookupError, MemoryError) as error:
            raise Damaged("a record is not as it was written") from error


def is_of(body: bytes, key: Key) -> bool:
    """Whether a body is that of this DOI, and not of another with the same hash."""
    return body[CHECK] == key.check


def nothing(key: Key) -> bytes:
    """The body of a DOI that a source doesn't know."""
    return bytes([NONE]) + key.check


def text(document: Document, *, abstract: bool = True) -> bytes:
    """The fields of a document as they are compressed."""
    texts = (document.title, document.venue, str(document.year or ""))
    kept = (*texts, document.abstract if abstract else None)
    return SIGN.join((text or "").replace(SIGN, " ") for text in kept).encode()


def trained(samples: Sequence[bytes]) -> bytes | None:
    """A dictionary made of the texts of records; None where they are too few or too much alike."""
    if len(samples) < FEWEST_SAMPLES:
        return None
    with suppress(ZstdError):
        made = train_dictionary(DICTIONARY_BYTES, list(samples), k=SEGMENT_BYTES, d=MATCH_BYTES)
        return bytes(made.as_bytes())
    return None
