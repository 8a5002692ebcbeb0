"""DOIs: from whatever stands in a cell to the one canonical form, or a reason why not.

A canonical DOI is lower-case printable ASCII: `10.`, a registrant, a slash, a suffix. Of a
million real DOIs none holds anything else. A non-ASCII letter is therefore damage, and refused:
so it never has to be case-folded or brought to one Unicode form, and no lookalike of a letter
makes a second DOI out of the first.

A wrong DOI is worse than none: a repair is made only where it leaves one reading.
"""

import re
from uuid import NAMESPACE_URL, uuid5

from schemas.doi_cell import clean, find
from schemas.doi_suffix import GLUED_WORD, LINK_WORDS, VIEWS, read
from schemas.doi_text import InvalidDoi, refuse

__all__ = ["InvalidDoi", "normalize", "point_id", "registrant"]

# A cell may be longer than its DOI (markup, escapes, repeats), but not by any length.
_RAW_CHARACTERS_PER_BYTE = 8

# What no step would change, but for its case: bare or under a resolver, 99 DOIs of 100.
# What it leaves out (10.1000/a/full, 10.1000/1.pdf) is what the steps look for.
_CLEAN = re.compile(
    r"(?:https?://(?:dx\.)?doi\.org/|doi:)?"
    r"(10\.[0-9]{4,9}/[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*+"  # possessive: or it is quadratic
    rf"(?:/(?!(?i:{VIEWS}))[A-Za-z0-9]+|\([0-9]{{2}}\)[A-Za-z0-9]+)?"
    r"(?:[-._][A-Za-z0-9]+)*)"
    r"(?:(?<=[0-9])(?<![0-9][vV][0-9])(?<![0-9][vV][0-9][0-9])"  # 10.1101/123456v2
    r"|(?<![0-9])(?i:(?<!\.(?:com|org|net|edu|gov|pdf|htm))(?<!\.html)(?<!\.ecollection)"
    rf"{''.join(f'(?<!{word})' for word in LINK_WORDS)}))"
)


def normalize(raw: str, *, max_bytes: int = 2048) -> str:
    """The canonical lower-case DOI that `raw` holds.

    Undoes what exports, publishers' pages and word processors do to DOIs. It is idempotent, its
    time is bounded whatever the length of `raw`, and of two different DOIs it takes neither.
    Raises `InvalidDoi`, also for a DOI of more than `max_bytes` bytes.
    """
    if len(raw) > max_bytes:
        return _normalize_long(raw, max_bytes)
    if found := _CLEAN.fullmatch(raw):
        doi = found[1].lower()
        if "ed" not in doi or not GLUED_WORD.search(doi):  # the word "accessed", glued to it
            return doi
    return _normalize_messy(raw)


def point_id(doi: str) -> str:
    """The UUIDv5 (URL namespace) of `https://doi.org/<doi>`, 36 characters; `doi` is canonical."""
    return str(uuid5(NAMESPACE_URL, f"https://doi.org/{doi}"))


def registrant(doi: str) -> str:
    """What stands before the first slash of a canonical DOI: `10.1038`, `10.1000.10`."""
    return doi.partition("/")[0]


def _normalize_long(raw: str, max_bytes: int) -> str:
    if len(raw) > max_bytes * _RAW_CHARACTERS_PER_BYTE:
        refuse(f"{len(raw)} characters are too many for a DOI")
    doi = _normalize_messy(raw)
    if len(doi) > max_bytes:
        refuse(f"a DOI of {len(doi)} bytes; {max_bytes} are allowed")
    return doi


def _normalize_messy(raw: str) -> str:
    doi = _repair(raw)
    untouched = doi == raw.lower() and "&" not in raw  # &Amp; is no entity, &amp; is one
    # What a second look reads in another way was not certain: 10.1000/a%2528b, 10.1000/a./pdf
    if not (untouched or _CLEAN.fullmatch(doi)) and _repair(doi) != doi:
        refuse("damaged in more than one way")
    return doi


def _repair(raw: str) -> str:
    readings = {read(place) for place in find(clean(raw))}
    if len(readings) > 1:
        refuse("two different DOIs")
    return readings.pop()
