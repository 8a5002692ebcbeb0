"""What must be so of whatever was accepted, said a second time, apart from the product's code."""

import re
from html import unescape
from unicodedata import normalize
from urllib.parse import unquote

from schemas import doi
from schemas.document import Document

# docs and schemas/doi.py: lower-case printable ASCII, `10.`, a registrant, a slash, a suffix.
CANONICAL = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*/[!#-@\[\]^_a-{}~]+")
INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
NOT_ASCII_WORDS = re.compile(r"[^a-z0-9]+")
FIRST_YEAR, LAST_YEAR = 1000, 2999


def is_canonical(text: str) -> bool:
    """Whether a text has the form of a canonical DOI, and normalizes to itself."""
    return CANONICAL.fullmatch(text) is not None and doi.normalize(text) == text


def follows(text: str, raw: str) -> bool:
    """Whether the letters and digits (ASCII) of a text stand in `raw`, in this order."""
    left = iter(raw.lower())
    return all(sign in left for sign in NOT_ASCII_WORDS.sub("", text.lower()))


def comes_from(text: str, raw: str) -> bool:
    """The same, of what `raw` is without its escapes."""
    raw = INVISIBLE.sub("", raw)
    for _ in range(4):
        if follows(text, normalize("NFKC", raw)):
            return True
        raw = unquote(unescape(raw))
    return False


def check_document(document: Document, *, doi_bytes: int = 2048) -> None:
    """Raise AssertionError for a document that no reader may give."""
    assert is_canonical(document.doi), f"not canonical: {document.doi!r}"
    assert len(document.doi) <= doi_bytes, f"a DOI of {len(document.doi)} bytes"
    for name in ("title", "abstract", "venue"):
        found = getattr(document, name)
        assert found is None or found.strip(), f"an empty {name}"
        if found:
            assert "\0" not in found, f"a NUL in the {name}"
            found.encode()
    assert document.year is None or FIRST_YEAR <= document.year <= LAST_YEAR, document.year


def check_reason(error: Exception, *, of: str = "") -> None:
    """Raise AssertionError for a refusal that doesn't say why, or `of` what."""
    assert str(error).startswith(of), f"doesn't say of what: {error}"
    assert str(error).strip(), "refused without a reason"
