"""BibTeX and biblatex: entries cut by lines, so that a broken one costs no other."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bibtexparser.exceptions import ParserStateException
from bibtexparser.model import DuplicateFieldKeyBlock, Entry, String
from bibtexparser.splitter import Splitter

from worker.sources.latex import to_text
from worker.sources.streams import Line
from worker.sources.tagged import A_DOI, ONLY_URL

BEGIN = re.compile(rb"\s*@[ \t]*([a-zA-Z]+)[ \t]*[{(]")
NEXT_ON_LINE = re.compile(rb"(?<=\})\s*+(?=@[ \t]*[a-zA-Z]+[ \t]*[{(])")
TEXT = r"[^{}\\]++|\\[^{}\\]"
BRACED = rf"\{{(?:{TEXT}|\{{(?:{TEXT}|\{{(?:{TEXT})*+\}})*+\}})*+\}}"
FIELD = rf",\s*+([\w:.+-]++)\s*+=\s*+({BRACED}|\w++)\s*+"
# Most entries are so plain, and are read ten times as fast: their fields are just looked for.
PLAIN = re.compile(
    rf"\s*+@[ \t]*+[a-zA-Z]++[ \t]*+\{{[^{{}}()=,\"#@]*+((?:{FIELD})*+),?\s*+\}}\s*+"
)
PLAIN_FIELD = re.compile(FIELD)
NO_RECORDS = {b"comment", b"preamble", b"set", b"xdata"}
VALUE_CHARACTERS = 2**20
ABBREVIATIONS = 10_000  # journals, mostly
ABBREVIATION_CHARACTERS = 10_000
DELIMITERS = re.compile(r'(?<!\\)[{}"]')
NAME = re.compile(r"([\w:.+-]+)\s*=")
NOT_IN_DOIS = re.compile(r"(--+|~|''|``)")  # they stand for themselves there
FIELDS = {
    "title": ("title",),
    "abstract": ("abstract",),
    "year": ("year", "date"),
    "venue": ("journaltitle", "journal", "booktitle"),
}
LINKS = ("url", "ee", "howpublished", "note", "bdsk-url-1")

# What it warns of costs a record, which is rejected with the reason.
logging.getLogger("bibtexparser.splitter").setLevel(logging.CRITICAL)


class Bibtex:
    """The records of one file, and the abbreviations that it has defined so far."""

    def __init__(self) -> None:
        self._abbreviations: dict[str, str] = {}

    def records(self, lines: Iterator[Line], *, limit: int) -> Iterator[Line]:
        """The entries among numbered lines; of one longer than `limit`, the first limit + 1.

        An entry ends where the next one begins, at the start of a line or after a brace.
        """
        for number, raw in _blocks(lines, limit=limit):
            begin = BEGIN.match(raw)
            kind = begin[1].lower() if begin else b""
            if kind == b"string":
                self._define(raw)
            elif kind not in NO_RECORDS:
                yield number, raw

    def parse(self, text: str) -> dict[str, Any]:
        """The fields of an entry by our names, and by its own what they don't use.

        Raises ValueError with the reason where it is not an entry.
        """
        fields = self._fields(_plain_fields(text) or _fields_of(text))
        found = {"doi": _doi(fields)}
        for name, given in FIELDS.items():
            used = next((field for field in given if field in fields), "")
            found[name] = to_text(fields.pop(used, ""))
        return {name: value for name, value in (fields | found).items() if value}

    def _define(self, raw: bytes) -> None:
        try:
            found = [block for block in _blocks_of(raw.decode()) if isinstance(block, String)]
            (name, value), *_ = self._values(found[0].key, found[0].value)
        except (ValueError, IndexError):
            return  # who uses it is given the abbreviation
        if len(self._abbreviations) < ABBREVIATIONS and len(value) <= ABBREVIATION_CHARACTERS:
            self._abbreviations[name.casefold()] = value

    def _fields(self, given: Iterable[tuple[str, str]]) -> dict[str, str]:
        """The fields by lower-case name; of two of one name, the first that holds something."""
        found: dict[str, str] = {}
        for key, raw in given:
            for name, value in self._values(key, raw):
                if value.strip():
                    found.setdefault(name.lower(), value.strip())
        return found

    def _values(self, name: str, raw: str) -> Iterator[tuple[str, str]]:
        """What a field holds; and the fields after it, where the commas between are missing."""
        pieces: list[str] = []
        for text, is_enclosed in _pieces(raw):
            if is_enclosed:
                pieces.append(text)
                continue
            first, *more = NAME.split(text)
            pieces.extend(self._words(first))
            for following, words in zip(more[::2], more[1::2], strict=True):
                yield name, _joined(pieces)
                name, pieces = following, list(self._words(words))
        yield name, _joined(pieces)

    def _words(self, text: str) -> Iterator[str]:
        """What stands in neither braces nor quotes: abbreviations, numbers, and `#` to join all."""
        for word in text.split("#"):
            if word.strip():
                yield self._abbreviations.get(word.strip().casefold(), word)


def _blocks(lines: Iterator[Line], *, limit: int) -> Iterator[Line]:
    """Each `@...{`, with all up to the next; and lines with DOIs outside, to be rejected."""
    first, held, size = 0, list[bytes](), 0
    for number, line in lines:
        for piece in NEXT_ON_LINE.split(line) if b"@" in line else (line,):
            begins = BEGIN.match(piece)
            if begins and held:
                yield first, b"\n".join(held)[: limit + 1]
            if not begins and _is_outside(piece, held):
                yield number, piece[: limit + 1]
                continue
            if begins:
                first, held, size = number, [], 0
            if begins or (held and size <= limit):
                held.append(piece)
                size += len(piece) + 1
    if held:
        yield first, b"\n".join(held)[: limit + 1]


def _is_outside(line: bytes, held: Sequence[bytes]) -> bool:
    """Whether a line holds a DOI that belongs to no entry: above all of them, or in a list."""
    if not held:
        return A_DOI.search(line) is not None and not line.lstrip().startswith(b"%")
    return A_DOI.match(line) is not None and held[-1].rstrip().endswith(b"}")


def _blocks_of(text: str) -> Iterable[Any]:
    try:
        return Splitter(text).split().blocks
    except ParserStateException as error:
        raise ValueError("not a BibTeX entry") from error


def _plain_fields(text: str) -> list[tuple[str, str]]:
    """The names and values of a plain entry; nothing where it is not plain."""
    found = PLAIN.fullmatch(text)
    return PLAIN_FIELD.findall(found[1]) if found else []


def _fields_of(text: str) -> list[tuple[str, str]]:
    block = next(iter(_blocks_of(text)), None)
    if isinstance(block, DuplicateFieldKeyBlock):
        block = block.ignore_error_block
    if not isinstance(block, Entry):
        reason = getattr(getattr(block, "error", None), "abort_reason", "nothing in it")
        raise ValueError(" ".join(f"not a BibTeX entry: {reason}".split()))  # noqa: TRY004
    return [(field.key, field.value) for field in block.fields]


def _pieces(raw: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a value, and whether each was enclosed, in braces or in quotes."""
    if raw.startswith("{") and raw.find("}") == len(raw) - 1 and not raw.rfind("{"):
        yield raw[1:-1], True  # most are so
        return
    begin, depth, is_quoted = 0, 0, False
    for found in DELIMITERS.finditer(raw):
        is_outside = depth == 0 and not is_quoted
        if found[0] == '"':
            is_quoted ^= depth == 0
        else:
            depth = max(0, depth + (1 if found[0] == "{" else -1))
        if is_outside != (depth == 0 and not is_quoted):
            yield raw[begin : found.start()], not is_outside
            begin = found.end()
    yield raw[begin:], False


def _joined(pieces: Sequence[str]) -> str:
    if sum(map(len, pieces)) > VALUE_CHARACTERS:
        raise ValueError(f"a value of more than {VALUE_CHARACTERS} characters")
    return "".join(pieces)


def _doi(fields: dict[str, str]) -> str:
    """Take the DOI: of its own field, or where another is nothing but a link to doi.org."""
    own = _decoded(fields.get("doi", ""))
    links = {name: _decoded(fields[name]) for name in LINKS if name in fields and "10." not in own}
    used = next((name for name, link in links.items() if re.match(ONLY_URL, link)), "doi")
    fields.pop(used, None)
    return links.get(used, own)


def _decoded(value: str) -> str:
    return "".join(
        part if number % 2 else to_text(part)
        for number, part in enumerate(NOT_IN_DOIS.split(value))
    ).strip()
