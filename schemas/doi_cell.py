"""Cells: what is undone in the whole of one, and where in it the DOIs are."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from html import unescape

from schemas.doi_text import (
    BOUNDARY,
    MARKUP,
    REGISTRANT,
    Place,
    fold,
    fold_blanks,
    refuse,
    refuse_control,
)

# How much of what stands before a DOI is searched for the brackets that it stands in.
_BEFORE = 200

_ENTITY = re.compile(r"&(?:amp;)*((?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}[0-9]*);)")

_ANGLES = {"lt;", "gt;"}

# 10.1175/1520-0434(1995)010%3C0078:TCOFHR%3E2.0.CO;2, from an address: the form of a SICI (ANSI
# Z39.56) says that its angle brackets were escaped. In lower case it may be a database's, and
# Web of Science holds %3c in DOIs that are not escaped.
_ESCAPED_SICI = re.compile(
    r"([0-9]{4}-[0-9]{3}[0-9Xx](?:\(|%28)[0-9A-Za-z/%+-]{4,20}(?:\)|%29)[0-9A-Za-z:/.+%-]{0,30})"
    r"%3C([0-9A-Za-z:./_+%-]{1,60})%3E(?=[0-9]\.[0-9]\.(?:CO|TX|co|tx)(?:;|%3B)[0-9])"
)
# 10.4236/ib.2016.81001<br/>, <dc:identifier>; but not the <...> of a SICI, 3.0.co;2-5 after it
_TAG = re.compile(
    r"<(/?)(?:[a-z][a-z0-9-]*:)?([a-z][a-z0-9-]*)(\s[^<>]*)?/?>(?![0-9]\.[0-9]\.(?:co|tx))"
)
# What stands inside a word as well as round it.
_INLINE = {
    *("b", "bold", "em", "font", "hi", "i", "italic", "mark", "sc", "small", "span", "strong"),
    *("sub", "sup", "tt", "u"),
}
# 10.1007/10\_2012\_176, from LaTeX and Web of Science
_BACKSLASH = re.compile(r"\\(?=[-_#&%$~<>(){}\[\]])")


def _unescape_entities(text: str) -> str:
    # 10.1002/(SICI)1098-2736(199812)35:10&lt;1069::AID-TEA2&gt;3.0.CO;2-A; &#x0003c;; &amp;lt;
    return _ENTITY.sub(_unescape_entity, text)


def _unescape_entity(entity: re.Match[str]) -> str:
    name = entity[1]
    # In whatever case a database has put &lt;1069::AID-TEA2&gt;: half a SICI would be another DOI.
    return unescape(f"&{name.lower() if name.lower() in _ANGLES else name}")


def _replace_tag(tag: re.Match[str]) -> str:
    closing, name, attributes = tag.groups()
    if attributes and "10." in attributes:  # <a href="https://doi.org/10.1000/xyz1">
        return f"{BOUNDARY}{attributes}{BOUNDARY}"
    if name in {"br", "wbr"}:
        return " " if name == "br" else ""
    return BOUNDARY if closing and name not in _INLINE else MARKUP


_STEPS: tuple[Callable[[str], str], ...] = (
    *(_unescape_entities, refuse_control, partial(_ESCAPED_SICI.sub, r"\1<\2>"), fold),
    *(partial(_TAG.sub, _replace_tag), partial(_BACKSLASH.sub, ""), fold_blanks),
)


def clean(raw: str) -> str:
    """The text of a cell: lower case, single blanks, tags and escapes undone or marked."""
    for step in _STEPS:
        raw = step(raw)
    return raw


# Before it nothing, a separator, or one stray character (z10.1097/..., 110.2147/...); inside it
# one stray dot or space (10..1111/..., 10. 1136/..., 10.3390 / ...).
_PREFIX = re.compile(
    r"(?:^|[^0-9a-z.]|(?<![0-9])\.|%2f|%3a|%3d|doi)[0-9a-z]?"
    rf"(10\.[. ]?{REGISTRANT} ?(?:/|%2f) ?)"
)
# Not the inner one of 10.37473/dac/10.1101/2020.04.12.20062687 or 10.1002/soej.10.4284/...
_NEXT_DOI = re.compile(rf"(?<=[^0-9a-z/.])(?=10\.{REGISTRANT}/)")
_ADDRESS = re.compile(r"https?:/")
_HOST = re.compile(r"/*(?:[a-z0-9-]+\.)+[a-z]{2,}(?![a-z0-9.-])")


def find(text: str) -> Iterator[Place]:
    """The places in the text of a cell where a DOI begins, at least one; or raises `InvalidDoi`."""
    prefix = _PREFIX.search(text)
    if not prefix:
        refuse("no registrant prefix 10.NNNN/" if text else "empty")
    start = prefix.start(1)
    body, *addresses = _ADDRESS.split(text[start:])
    before, in_address = text[:start], "/" in text[:start]
    for part in _NEXT_DOI.split(body):
        yield Place(part, before[-_BEFORE:], in_address)
        before = part
    for address in addresses:
        if found := _seek(address):
            before += address[: found.start(1)]
            yield Place(address[found.start(1) :], before[-_BEFORE:], in_address=True)
        before = address


def _seek(address: str) -> re.Match[str] | None:
    # 10.2514/1.13639https://doi.org/10.2514/1.13639 is one DOI; but every o has become a 0, in the
    # DOI too, in 10.3917/inn0.043.0013.http://www.cairn.inf0/revue-inn0vati0ns-2014-1-page-13.htm
    if not _HOST.match(address):
        refuse("a damaged web address follows")
    return _PREFIX.search(address)
