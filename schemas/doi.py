"""DOIs: from whatever stands in a cell to the one canonical form, or a reason why not.

A canonical DOI is lower-case printable ASCII: `10.`, a registrant, a slash, a suffix. Of a
million real DOIs none holds anything else. A non-ASCII letter is therefore damage, and refused:
so it never has to be case-folded or brought to one Unicode form, and no lookalike of a letter
makes a second DOI out of the first.

A wrong DOI is worse than none: a repair is made only where it leaves one reading.
"""

import re
from collections.abc import Callable
from functools import partial
from html import unescape
from string import ascii_lowercase, ascii_uppercase
from typing import NoReturn
from urllib.parse import unquote
from uuid import NAMESPACE_URL, uuid5

# A cell may be longer than its DOI (markup, escapes, repeats), but not by any length.
_RAW_CHARACTERS_PER_BYTE = 8

# What no step below would change, but for its case: bare or under a resolver, 99 DOIs of 100.
# What it leaves out (10.1000/a/full, 10.1000/1.pdf) is what the steps look for.
_CLEAN = re.compile(
    r"(?:https?://(?:dx\.)?doi\.org/|doi:)?"
    r"(10\.[0-9]{4,9}/[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*+"  # possessive: or it is quadratic
    r"(?:/(?!(?i:full|e?pdf|html|abstract|meta))[A-Za-z0-9]+|\([0-9]{2}\)[A-Za-z0-9]+)?"
    r"(?:[-._][A-Za-z0-9]+)*)"
    r"(?i:(?<!\.com)(?<!\.org)(?<!\.net)(?<!\.edu)(?<!\.gov)(?<!\.ecollection)"
    r"(?<!\.pdf)(?<!\.htm)(?<!\.html)(?<![0-9]v[0-9]))"
)


class InvalidDoi(ValueError):
    """A text from which no DOI can be told with certainty; the message says why."""


def normalize(raw: str, *, max_bytes: int = 2048) -> str:
    """The canonical lower-case DOI that `raw` holds.

    Undoes what exports, publishers' pages and word processors do to DOIs. It is idempotent, its
    time is bounded whatever the length of `raw`, and of two different DOIs it takes neither.
    Raises `InvalidDoi`, also for a DOI of more than `max_bytes` bytes.
    """
    if len(raw) > max_bytes:
        return _normalize_long(raw, max_bytes)
    clean = _CLEAN.fullmatch(raw)
    return clean[1].lower() if clean else _normalize_messy(raw)


def point_id(doi: str) -> str:
    """The UUIDv5 (URL namespace) of `https://doi.org/<doi>`, 36 characters; `doi` is canonical."""
    return str(uuid5(NAMESPACE_URL, f"https://doi.org/{doi}"))


def registrant(doi: str) -> str:
    """What stands before the first slash of a canonical DOI: `10.1038`, `10.1000.10`."""
    return doi.partition("/")[0]


def _normalize_long(raw: str, max_bytes: int) -> str:
    if len(raw) > max_bytes * _RAW_CHARACTERS_PER_BYTE:
        _refuse(f"{len(raw)} characters are too many for a DOI")
    doi = _normalize_messy(raw)
    if len(doi) > max_bytes:
        _refuse(f"a DOI of {len(doi)} bytes; {max_bytes} are allowed")
    return doi


def _normalize_messy(raw: str) -> str:
    doi = _repair(raw)
    # What a second look reads in another way was not certain: 10.1000/a%2528b, 10.1000/a./pdf
    if not _CLEAN.fullmatch(doi) and _repair(doi) != doi:
        _refuse("damaged in more than one way")
    return doi


def _repair(raw: str) -> str:
    text = raw
    for step in _CELL_STEPS:
        text = step(text)
    readings = {_read(part, steps=steps) for part, steps in _find(text)}
    if len(readings) > 1:
        _refuse("two different DOIs")
    return readings.pop()


def _refuse(reason: str) -> NoReturn:
    raise InvalidDoi(reason)


Step = Callable[[str], str]
Steps = tuple[Step, ...]


def _dropping(pattern: str) -> Step:
    return partial(re.compile(pattern).sub, "")


# --- What is done to the whole cell ---

_ENTITY = re.compile(r"&(?:amp;)*((?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}[0-9]*);)")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DASH = "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_DASHES = re.compile(rf"(?<![-\u00ad])[-\u00ad]*[{_DASH}][-\u00ad{_DASH}]*")
_INVISIBLE = "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
# U+00FF is the fill byte 0xFF, read as Latin-1: 10.3390/toxins14120818ÿ
_FOLDED = str.maketrans(ascii_uppercase + "\u00ff", ascii_lowercase + " ", _INVISIBLE)


def _unescape_entities(text: str) -> str:
    # 10.1002/(SICI)1098-2736(199812)35:10&lt;1069::AID-TEA2&gt;3.0.CO;2-A; &#x0003c;; &amp;lt;
    return _ENTITY.sub(lambda entity: unescape(f"&{entity[1]}"), text)


def _refuse_control(text: str) -> str:
    # A NUL, or half of a surrogate pair: the bytes were not text, or not in this encoding.
    if found := _CONTROL.search(text):
        _refuse(f"holds the control character U+{ord(found[0]):04X}")
    return text


def _fold(text: str) -> str:
    # 10.1039/C9CY02091H; 10.1186/1471‐2148‐14‐1; a soft hyphen; a zero-width or unbreakable space
    return _single_blanks(_DASHES.sub("-", text).translate(_FOLDED))


def _single_blanks(text: str) -> str:
    return " ".join(text.split())


# 10.4236/ib.2016.81001<br/>, but not 10.1002/1097-4571(2000)51:10<949::aid-asi70>3.0.co;2-5
_DROP_TAGS = _dropping(r"</?(?:br|p|i|b|a|em|sub|sup|span)(?: [^<>]*)?/?>")
# 10.1007/10\_2012\_176, from LaTeX and Web of Science
_DROP_BACKSLASHES = _dropping(r"\\(?=[-_#&%$~<>(){}\[\]])")

# The blanks around a tag stay, and become one: 10.1038/nphys1170 <br> see also
_CELL_STEPS = (
    *(_unescape_entities, _refuse_control, _fold),
    *(_DROP_TAGS, _DROP_BACKSLASHES, _single_blanks),
)

# --- Where the DOIs of a cell are ---

_REGISTRANT = r"[0-9]{4,9}(?:\.[0-9]+)*"
# Before it nothing, a separator, or one stray character (z10.1097/..., 110.2147/...); inside it
# one stray dot or space (10..1111/..., 10. 1136/..., 10.3390 / ...).
_PREFIX = re.compile(
    r"(?:^|[^0-9a-z.]|(?<![0-9])\.|%2f|%3a|%3d|doi)[0-9a-z]?"
    rf"(10\.[. ]?({_REGISTRANT}) ?(?:/|%2f) ?)"
)
# Not the inner one of 10.37473/dac/10.1101/2020.04.12.20062687 or 10.1002/soej.10.4284/...
_NEXT_DOI = re.compile(rf"(?<=[^0-9a-z/.])(?=10\.{_REGISTRANT}/)")
_GLUED_DOI = re.compile(r"[0-9a-z]10\.[0-9]{4,9}/")
_ADDRESS = re.compile(r"https?:/")
_HOST = re.compile(r"/*(?:[a-z0-9-]+\.)+[a-z]{2,}(?![a-z0-9.-])")


def _find(text: str) -> list[tuple[str, Steps]]:
    """The parts of a cell that begin with a DOI, each with the steps that it needs."""
    prefix = _PREFIX.search(text)
    if not prefix:
        _refuse("no registrant prefix 10.NNNN/" if text else "empty")
    body, *addresses = _ADDRESS.split(text[prefix.start(1) :])
    steps = _ADDRESS_STEPS if "/" in text[: prefix.start(1)] else _TEXT_STEPS
    found = ((address, _seek(address)) for address in addresses)
    named = [(address[m.start(1) :], _ADDRESS_STEPS) for address, m in found if m]
    return [(part, steps) for part in _NEXT_DOI.split(body)] + named


def _seek(address: str) -> re.Match[str] | None:
    # 10.2514/1.13639https://doi.org/10.2514/1.13639 is one DOI; but every o has become a 0, in the
    # DOI too, in 10.3917/inn0.043.0013.http://www.cairn.inf0/revue-inn0vati0ns-2014-1-page-13.htm
    if not _HOST.match(address):
        _refuse("a damaged web address follows")
    return _PREFIX.search(address)


def _read(part: str, *, steps: Steps) -> str:
    prefix = _PREFIX.match(part)
    if not prefix:
        _refuse("no registrant prefix 10.NNNN/")
    suffix = part[prefix.end() :]
    for step in steps:
        suffix = step(suffix)
    return f"10.{prefix[2]}/{suffix}"


# --- What is done to what follows the prefix ---

_DIGIT = re.compile("[0-9]")
_YEAR_OR_PAGE = re.compile("[0-9]{1,4}[.,;]?")
_AT_END = ".,;:!'\"*|/`)]}>\u00b7\u2022\u2019\u201d\u201c\u00bb"
_OPENED_BY = {")": "(", "]": "[", "}": "{", ">": "<"}
# Quotes, commas, backslashes and bars: in the million none, in a cell the sign of something else.
_ODD = re.compile(r"[^!#-+\--\[\]-_a-{}~]")
# The two forms in which a year in brackets is the DOI's own: 10.4335/20.4.1083-1111(2022), and
# the first page in 10.1061/(asce)0733-9496(2008)134:4(337). Not in 10.1111/bph.14053(2017).
_YEAR = re.compile(r"\((?:19|20)[0-9]{2}\)$")
_OWN_YEAR = re.compile(r"(?:\.[0-9]+-[0-9]+|:[0-9]+)\([0-9]{4}\)$")

# 10.1080/13691066.2014.925305?src=recsys; 10.1177/1354068809102245#; but not 10.1002/...;2-#, nor
# 10.17323/1996-7845-2017-04-??
_CUT_QUERY = _dropping(r"[?&][a-z_.]+=.*|(?<!;[0-9]-)#$|(?<![-?])\?+$")
# https://www.tandfonline.com/doi/full/10.1080/10668926.2019.1610672?scroll=top
_CUT_ADDRESS_QUERY = _dropping(r"[?&].*|(?<!;[0-9]-)#.*")
_CUT_APPENDED = _dropping(
    r"(?<!\.)\.{4,}[^.].*"  # 10.1038/25931...................395137(1998)
    r"|[ .]?pmc?id:.*"  # 10.1038/nbt.2199.pmid:22565958
    r"|\.ecollection(?![a-z0-9._-]).*"  # 10.7717/peerj-cs.804.eCollection 2021.
    r"|\(epub.*"  # 10.1111/dme.13431(epubaheadofprint)
    r"|>accessed.*"  # 10.2307/844838>accessed21
    r"|\[(?:doi|pii)\].*"  # 10.1002/pds.1348[doi].eng
    r"|\((?:19|20)[0-9]{2}$"  # 10.1007/s11219-016-9353-3(2018
    # 10.1177/1069072716653376journals.sagepub.com/home/jca
    r"|(?<=[0-9])[a-z]+(?:\.[a-z-]+)*\.(?:com|org|net|edu|gov)(?![a-z0-9._-]).*"
)
# 10.1098/rsbl..2015.0883; 10.1007/978-3-642-22984-8__8
_UNDOUBLE = _dropping(r"(?<=[0-9a-z])\.(?=\.[0-9a-z])|(?<=[0-9x])_(?=_[0-9]+$)")
# 10.3389/fmars.2022.1037358/full; 10.1088/1361-6463/aacf4c/meta
_CUT_VIEW = _dropping(r"(?:/(?:full|fulltext|full-text|pdf|epdf|html|abstract|meta)){1,2}$")
# https://www.biorxiv.org/content/10.1101/2020.04.12.20062687v1.full.pdf
_CUT_FILE = _dropping(
    r"(?:(?<=\.[0-9]{6})|(?<=\.[0-9]{8}))v[0-9](?:\.full)?(?:-text|\.pdf)?$|\.(?:pdf|html?)$"
)


def _decode(suffix: str) -> str:
    # 10.1016/s0022-510x%2896%2900278-x; but Web of Science holds %3c in DOIs that are not escaped
    if "%3c" in suffix or "%3e" in suffix:
        _refuse("an escaped angle bracket outside a web address")
    return _decode_address(suffix)


def _decode_address(suffix: str) -> str:
    # https://doi.org/10.1002/(SICI)1097-4571(1998)49:1%3C49::AID-ASI7%3E3.0.CO;2-6
    try:
        return _fold(unquote(suffix, errors="strict")) if "%" in suffix else suffix
    except UnicodeDecodeError:
        _refuse("percent escapes that are not UTF-8")


def _close_gaps(suffix: str) -> str:
    # 10.1136/ bmjopen- 2020- 038952 is one DOI; 10.1371/journal.pone.0196324. eCollection 2018
    # ends at the gap; 10.1371/journal.pone.024 0808 may be either.
    done, *tokens = suffix.split(" ")
    tokens.reverse()
    while tokens and _goes_on(done, tokens[-1]):
        done += tokens.pop()
    if tokens and not _ends(done, tokens):
        _refuse("broken by whitespace: it can't be told where it ends")
    return done


def _goes_on(done: str, token: str) -> bool:
    if done.endswith("-") and _DIGIT.match(token):
        return True
    if _DIGIT.search(done) or not _DIGIT.search(token):
        return False
    return token[0] in ".-" or (done[-1:] in {".", "-"} and not _YEAR_OR_PAGE.fullmatch(token))


def _ends(done: str, tokens: list[str]) -> bool:
    token = tokens[-1]  # the next one: they are in reverse order
    if done.endswith((",", ";", "|")) or not any(map(re.compile("[0-9a-z]").search, tokens)):
        return True
    if done.endswith(("/", "-", "_", ":", "(", "<", "[")) or not _DIGIT.search(done):
        return False
    initial = done.endswith(".") and len(token) == 1  # 10.1111/j.1749-6632.1999.tb08633. x
    return not (_DIGIT.search(token) or token[0] in "-./_:" or initial)


def _trim(suffix: str) -> str:
    # 10.2196/12286. loses its dot, (doi:10.1093/nar/gku542) its bracket; but not
    # 10.4335/20.4.1083-1111(2022).
    if suffix.endswith("..."):
        _refuse("cut off: it ends in dots")
    core = suffix.rstrip(_AT_END)
    unclosed = {opening: core.count(opening) - core.count(c) for c, opening in _OPENED_BY.items()}
    keep = len(core)
    for end, character in enumerate(suffix[len(core) :], len(core) + 1):
        opening = _OPENED_BY.get(character, "")
        if unclosed.get(opening, 0) > 0:
            unclosed[opening] -= 1
            keep = end
    return suffix[:keep]


def _check(suffix: str) -> str:
    if not suffix:
        _refuse("nothing after the slash")
    if odd := _ODD.search(suffix):
        _refuse(f"holds {odd[0]!a}, which DOIs don't")
    if _GLUED_DOI.search(suffix):
        _refuse("two DOIs run together")
    if _YEAR.search(suffix) and not _OWN_YEAR.search(suffix):
        _refuse("ends in a year in brackets that need not be part of it")
    return suffix


_SHARED_STEPS = (_CUT_APPENDED, _close_gaps, _UNDOUBLE, _trim, _CUT_VIEW)
_TEXT_STEPS: Steps = (_CUT_QUERY, _decode, *_SHARED_STEPS, _check)
_ADDRESS_STEPS: Steps = (_CUT_ADDRESS_QUERY, _decode_address, *_SHARED_STEPS, _CUT_FILE, _check)
