"""Fields of foreign records, as documents: a poor field is dropped, and never costs the record."""

import json
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date
from functools import partial
from typing import Any, NamedTuple

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import normalize
from schemas.job import NO_DOI
from worker.settings.ingest import LimitSettings
from worker.sources.columns import DOCUMENT, Columns
from worker.sources.objects import plain, unwrapped
from worker.sources.text import clean, says_nothing

# An object or a list, written as JSON or as Python does: OpenAlex's inverted abstracts in tables.
WRITTEN = re.compile(r"""\s*(?:\{\s*["'].*\}|\[\s*["'{].*\])\s*""", re.DOTALL)
WRITTEN_CHARACTERS = 200_000
YEAR = re.compile(r"([0-9]{4})(?:\.0*|[-/ ].*)?", re.DOTALL)
FIRST_YEAR, LAST_YEAR = 1000, 2999
ONE_OF_SEVERAL = "one of several; the first is used"


class Dropped(NamedTuple):
    """A field that a record lost, its value, and why."""

    field: str
    value: Any
    reason: str


class Found(NamedTuple):
    """The document of a record, and the fields that it lost."""

    document: Document
    dropped: tuple[Dropped, ...]


class _Poor(ValueError):
    """A value that is none of its field."""


def given(raw: Any, *, limits: LimitSettings) -> Found:
    """The document of what another program gives: a DOI, or a mapping with one and metadata.

    The names of fields, and the shapes of their values, may be those of any export that files are
    read from. Raises ValueError as `document` does.
    """
    columns = Columns(DOCUMENT, {})
    return document(picked(raw, columns) if isinstance(raw, Mapping) else raw, limits=limits)


def picked(row: Mapping[Any, Any], columns: Columns) -> dict[str, Any]:
    """Our fields of a foreign mapping: of each the first column that says something."""
    record = unwrapped(row)
    found: dict[str, Any] = {}
    for field, keys in columns.pick(record).items():
        for key in keys:
            if (value := plain(field, record[key])) is not None:
                found.setdefault(field, value)
                if len(keys) == 1 or not (isinstance(value, str) and says_nothing(value)):
                    found[field] = value
                    break
    return found


def document(raw: Any, *, limits: LimitSettings) -> Found:
    """The document of a record: a text with a DOI, or our fields of a mapping, see `picked`.

    Texts are cleaned (`worker.sources.text`); of several the first counts. A year is a whole
    number from 1000 to 2999, or a text that begins with one (`1999-05-01`, `1999.0`). A field
    that holds no such value, or a word for nothing (`N/A`), is dropped.

    Raises ValueError with the reason where the DOI is not one (`schemas.job.NO_DOI` where there
    is none), or the record is longer than the limit.
    """
    if isinstance(raw, str):
        return Found(Document(doi=normalize(raw, max_bytes=limits.doi_bytes)), ())
    if not isinstance(raw, Mapping):
        raise ValueError("neither a DOI nor an object with a `doi`")  # noqa: TRY004
    doi = _doi(raw.get("doi"))
    _limit_size((doi, *raw.values()), limits.record_bytes)
    dropped: list[Dropped] = []
    fields = {
        name: _value(name, _unwritten(name, raw[name]), dropped=dropped)
        for name in METADATA_FIELDS
        if name in raw
    }
    canonical = normalize(doi, max_bytes=limits.doi_bytes)
    return Found(Document(doi=canonical, **fields), tuple(dropped))


def _doi(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        value = " ".join(value)  # one DOI twice is one; two are refused
    if value is None or (isinstance(value, str) and says_nothing(value)):
        raise ValueError(NO_DOI)
    if not isinstance(value, str):
        raise ValueError("the doi is not a text")  # noqa: TRY004
    return value


def _unwritten(field: str, value: Any) -> Any:
    """The value of a cell that an object or a list was written to; else it, as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    if len(value) > WRITTEN_CHARACTERS or not WRITTEN.fullmatch(value):
        return value
    for parse in (json.loads, literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return plain(field, parse(value))
    return value


def _value(field: str, value: Any, *, dropped: list[Dropped]) -> Any:
    if isinstance(value, list | tuple):
        dropped += (Dropped(field, other, ONE_OF_SEVERAL) for other in value[1:])
        value = value[0] if value else None
    try:
        return None if value is None else READERS[field](value)
    except _Poor as poor:
        dropped.append(Dropped(field, value, str(poor)))
        return None


def _text(value: Any, *, is_abstract: bool = False) -> str | None:
    if not isinstance(value, str):
        raise _Poor("not a text")
    if "\0" in value or not _encodable(value):
        raise _Poor("holds a NUL or half a surrogate pair")
    if not value or value.isspace():
        return None
    text = clean(value, is_abstract=is_abstract)
    if says_nothing(text):
        raise _Poor("says nothing")
    return text


def _year(value: Any) -> int | None:
    if isinstance(value, date):
        value = value.year
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and FIRST_YEAR <= value <= LAST_YEAR:  # not nan, nor a number of 5,000 digits
        value = str(value)
    text = value.strip() if isinstance(value, str) else None
    if text == "":
        return None
    found = text and YEAR.fullmatch(text)
    if not found or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        raise _Poor(f"not a year from {FIRST_YEAR} to {LAST_YEAR}")
    return int(found[1])


READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(METADATA_FIELDS, _text),
    "abstract": partial(_text, is_abstract=True),
    "year": _year,
}


def _encodable(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _limit_size(values: Iterable[Any], limit: int) -> None:
    texts = (value for value in values if isinstance(value, str))
    # Four bytes a character are the most there are.
    if sum(4 * len(text) for text in texts) <= limit:
        return
    if sum(len(v.encode(errors="replace")) for v in values if isinstance(v, str)) > limit:
        raise ValueError(f"longer than the limit of {limit} bytes")
