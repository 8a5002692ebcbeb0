"""What reading a DOI rests on: the one error, a folded text, and a DOI's place in it."""

import re
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple, NoReturn

REGISTRANT = r"[0-9]{4,9}(?:\.[0-9]+)*"
# What is left where a tag stood: one that ends a text, and one that need not.
BOUNDARY, MARKUP = "\x01", "\x02"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DASH = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_DASHES = re.compile(rf"(?<![-\u00ad])[-\u00ad]*[{_DASH}][-\u00ad{_DASH}]*")
_INVISIBLE = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
# U+00FF is the fill byte 0xFF, read as Latin-1: 10.3390/toxins14120818ÿ
_FOLDED = str.maketrans(ascii_uppercase + "\u00ff", ascii_lowercase + " ", _INVISIBLE)


class InvalidDoi(ValueError):
    """A text from which no DOI can be told with certainty; the message says why."""


def refuse(reason: str) -> NoReturn:
    """Raise `InvalidDoi`."""
    raise InvalidDoi(reason)


def refuse_control(text: str) -> str:
    """The text, if it holds no control characters but white space, nor half a surrogate pair."""
    # A NUL, or half of a surrogate pair: the bytes were not text, or not in this encoding.
    if found := _CONTROL.search(text):
        refuse(f"holds the control character U+{ord(found[0]):04X}")
    return text


def fold(text: str) -> str:
    """The text in lower case, with ASCII's hyphen and single spaces, and nothing invisible."""
    # 10.1039/C9CY02091H; 10.1186/1471‐2148‐14‐1; a soft hyphen; a zero-width or unbreakable space
    return fold_blanks(_DASHES.sub("-", text).translate(_FOLDED))


def fold_blanks(text: str) -> str:
    """The text with one space for each run of white space, and none round it."""
    return " ".join(text.split())


class Place(NamedTuple):
    """Where a DOI begins: it and what follows it, what stands before it, and if in an address."""

    text: str
    before: str
    in_address: bool
