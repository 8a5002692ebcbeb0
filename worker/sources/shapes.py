"""The shape of a text: its format, told by its first bytes; its name decides only in doubt."""

import json
import re
from collections.abc import Callable, Iterable, Iterator

from worker.errors import SourceError
from worker.sources.columns import DOCUMENT, folded
from worker.sources.elements import array_start
from worker.sources.streams import Opened, binary_kind
from worker.sources.tagged import ENDNOTE, NBIB, RIS, WEB_OF_SCIENCE, looks_like

BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".ris": "ris",
    ".nbib": "nbib",
    ".enw": "enw",
    ".ciw": "wos",
    ".bib": "bib",
}
TABLES = ("csv", "tsv")
JSON = re.compile(rb'\s*(?:\{\s*["}]|\[\s*(?:[{"\[\]]|$))')
TAGGED = {RIS.sign: "ris", NBIB.sign: "nbib", ENDNOTE.sign: "enw", WEB_OF_SCIENCE.sign: "wos"}
# A record of BibTeX, wherever it stands: some files have a preamble, or text between records.
BIBTEX = re.compile(rb"^[ \t]*@[ \t]*[A-Za-z]+[ \t]*[{(]", re.MULTILINE)
DOI = re.compile(rb"10\.[0-9]{4,9}/[^\s\"<>?&#]+")
ONE_DOI = re.compile(rb"\s*(?:https?://\S+?/|doi:\s*)?10\.[0-9]{4,9}/\S+\s*", re.IGNORECASE)
LEAST_STRANGE = 5  # lines, to tell that a text is no list
SEEMS = (
    (re.compile(rb"^\s*(?:<!doctype html|<html|<head)", re.IGNORECASE), "a web page"),
    (re.compile(rb"^\s*<\?xml|^\s*<!DOCTYPE|^\s*<PubmedArticle"), "XML"),
)


def shape(opened: Opened, suffix: str, *, has_header: Callable[[], bool]) -> str:
    """The name of the format (see `worker.sources.formats.FORMATS`) that a source is in.

    `has_header` says whether it has a table's header line. Raises `SourceError` for what is none
    of them.
    """
    head = opened.head
    if kind := binary_kind(head):
        return _binary(head, kind)
    named = BY_SUFFIX.get(suffix, "")
    if named == "jsonl" or JSON.match(head):
        return _json(head, named)
    tagged = _tagged(head)
    if named not in TABLES:
        return tagged or ("tsv" if has_header() else named or _list(opened))
    return tagged if tagged and not has_header() else named


def first_line_tells(head: bytes) -> bool:
    """Whether the first line of a stream is enough to tell that each line of it is a record."""
    line, end, _ = head.lstrip().partition(b"\n")
    if not end:
        return False
    return bool(ONE_DOI.fullmatch(line)) or _is_record(line)


def comments_dropped(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The lines of a list that hold something, and don't begin with `#`."""
    return (line for line in lines if not line[1].lstrip().startswith(b"#") and line[1].strip())


def _tagged(head: bytes) -> str:
    dialect = looks_like(head)
    sign = re.compile(dialect.sign) if dialect else BIBTEX
    found = sign.search(head)
    # Behind DOIs it is a line among others: read as that format, all above it would be lost.
    if not found or DOI.search(head, 0, found.start()):
        return ""
    return TAGGED[dialect.sign] if dialect else "bib"


def _binary(head: bytes, kind: str) -> str:
    if kind == "Parquet":
        return "parquet"
    if b"[Content_Types].xml" in head or b"xl/" in head:
        return "xlsx"
    raise SourceError(f"holds {kind}")


def _json(head: bytes, named: str) -> str:
    text = head.lstrip()
    line, end, _ = text.partition(b"\n")
    if text.startswith(b"["):
        return "json"
    if _is_record(line):
        return "jsonl"
    if text.startswith(b"{") and array_start(head) is not None:
        return "json"
    if not text.startswith(b"{") or _is_object(line):
        return "jsonl"
    # An object over many lines; or a damaged line, or one that is longer than the head.
    is_begun = not end or line.rstrip().endswith((b"{", b"[", b","))
    return "json" if named != "jsonl" or (end and is_begun) else "jsonl"


def _is_record(line: bytes) -> bool:
    found = _parsed(line)
    names = DOCUMENT.names["doi"]
    return isinstance(found, dict) and any(folded(name) in names for name in found)


def _is_object(line: bytes) -> bool:
    return isinstance(_parsed(line), dict)


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line) if line.startswith(b"{") else None
    except (ValueError, RecursionError):
        return None


def _list(opened: Opened) -> str:
    """`txt`; raises `SourceError` where most lines hold no DOI or several: no list."""
    lines = opened.head.split(b"\n")
    whole = lines if opened.is_whole or len(lines) == 1 else lines[:-1]
    held = [_dois(line) for _, line in comments_dropped(enumerate(whole))]
    strange = sum(count != 1 for count in held)
    if strange < LEAST_STRANGE or 2 * strange <= len(held):
        return "txt"
    what = next((what for start, what in SEEMS if start.search(opened.head)), "")
    if not what:
        several = sum(count > 1 for count in held)
        what = "a text or a table without a known header line"
        what = "lists of references, not of papers" if 2 * several > len(held) else what
    raise SourceError(
        f"not one DOI a line: {strange} of its first {len(held)} lines hold none or several; "
        f"it seems to be {what} (--format says what it is)"
    )


def _dois(line: bytes) -> int:
    return len({found.lower().rstrip(b".,;)") for found in DOI.findall(line)})
