"""Sources of records: files and standard input, streamed to documents, never read whole.

A bad line is a `Rejection`, and the next line is read as if it had not been there; a source that
as a whole isn't what its name says is a `SourceError`, after all that could be read of it.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeVar

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import normalize
from schemas.job import Rejection
from worker.errors import SourceError
from worker.settings import LimitSettings
from worker.sources.parsing import CUT_CHARACTERS, attempt
from worker.sources.streams import (
    COMPRESSIONS,
    STANDARD_INPUT,
    Line,
    decoded,
    lines,
    opened,
    source_name,
)
from worker.sources.tables import table

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
FORMATS = (".txt", *DELIMITERS, *JSON_LINES)
SUPPORTED = f"{', '.join(FORMATS)}, each also with .gz or .xz, and - for standard input"
YEAR = re.compile(r"([0-9]{4})(?:\.0*|[-/ ].*)?", re.DOTALL)
NO_YEAR = {"na", "n/a", "nan", "n.d.", "none", "null"}
FIRST_YEAR, LAST_YEAR = 1000, 3000
T = TypeVar("T")


class _Format(NamedTuple):
    """The records of a stream, each by its first line's number, and how to parse one."""

    records: Iterable[Line]
    parse: Callable[[str], Any]


def read(source: str, *, limits: LimitSettings) -> Iterator[Document | Rejection]:
    """Each record of a source, in order: a document, or what was rejected and why.

    `source` is a path whose suffix names its format and compression, or `-` for standard input:
    one DOI a line, or JSON lines where it begins with `{`; gzip and xz are told by their first
    bytes. Blank lines and the comments of a .txt are no records. A rejection names the line,
    counted from 1, on which its record begins, and gives it in full up to the record's limit.

    Raises `SourceError` where the source can't be read (on), after all that came before.
    """
    return records(source, partial(document, limits=limits), columns=({"doi"},), limits=limits)


def records(
    source: str,
    parse: Callable[[Any], T],
    *,
    columns: Sequence[Set[str]],
    limits: LimitSettings,
) -> Iterator[T | Rejection]:
    """Each record of a source as `parse` makes it, in order, as `read` does for documents.

    `parse` is given a mapping for a row of a table (by lower-case column name), any JSON value
    for a line of JSON, and a text for a line of text; where it raises ValueError, the record is
    rejected for that reason (for a bug's error too, see `attempt`). A table must have all columns
    of one set of `columns`, each once.

    Raises `SourceError` where the source can't be read (on), after all that came before.
    """
    try:
        suffix, compression = _suffixes(source)
        with opened(source, compression=compression) as stream:
            found = _format(stream, suffix, columns=columns, limit=limits.record_bytes)

            def parsed(raw: bytes) -> T:
                return parse(found.parse(decoded(raw, limits.record_bytes)))

            for number, raw in found.records:
                try:
                    yield attempt(parsed, raw)
                except ValueError as error:
                    shown = _shown(raw, limits.record_bytes)
                    yield Rejection(source_name(source), number, shown, str(error))
    except SourceError as error:
        raise SourceError(f"{source_name(source)}: {error}") from error


def document(raw: str | Mapping[str, Any], *, limits: LimitSettings) -> Document:
    """The document of a record: a DOI, or a mapping with a `doi` and metadata.

    Field names count in any case (Crossref has `DOI`), other fields are ignored. A text may be
    the only one of a list (Crossref's titles), an empty one is none; only blanks around it are
    removed. A year is a whole number from 1000 to 3000, or a text that begins with one
    (`1999-05-01`, `1999.0`).

    Raises ValueError with the reason where the DOI or a metadata field is not what it must be:
    a wrong year rejects the record, since to drop it would lose it without a word.
    """
    if isinstance(raw, str):
        return Document(doi=_doi(raw, limits))
    if not isinstance(raw, Mapping):
        raise ValueError("neither a DOI nor an object with a `doi`")  # noqa: TRY004
    fields = {str(name).casefold(): value for name, value in raw.items()} | dict(raw)
    doi = _text("doi", fields.get("doi"))
    if doi is None:
        raise ValueError("no `doi`")
    found = {name: CLEAN[name](name, fields[name]) for name in METADATA_FIELDS if name in fields}
    _limit_size((doi, *found.values()), limits.record_bytes)
    return Document(doi=_doi(doi, limits), **found)


def identity(sources: Sequence[str]) -> str | None:
    """What tells whether a list of sources is the same: a SHA-256 (hex) of paths, sizes and times.

    None where one is standard input, which can't be read again. Raises `SourceError` for a file
    that is not there.
    """
    if STANDARD_INPUT in sources:
        return None
    facts = [_facts(source) for source in sources]
    return sha256(json.dumps(facts).encode()).hexdigest()


def _facts(source: str) -> tuple[str, int, int]:
    try:
        path = Path(source).resolve(strict=True)
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{source_name(source)}: {error.strerror or error}") from error
    return str(path), stat.st_size, stat.st_mtime_ns


# Formats


def _suffixes(source: str) -> tuple[str, str]:
    if source == STANDARD_INPUT:
        return "", ""
    path = PurePath(source.lower())
    compression = path.suffix if path.suffix in COMPRESSIONS else ""
    suffix = PurePath(path.stem).suffix if compression else path.suffix
    if suffix not in FORMATS:
        raise SourceError(f"not a name with a known suffix; supported are {SUPPORTED}")
    return suffix, compression


def _format(
    stream: io.BufferedReader, suffix: str, *, columns: Sequence[Set[str]], limit: int
) -> _Format:
    numbered = lines(stream, limit=limit)
    if suffix in DELIMITERS:
        return _Format(*table(numbered, DELIMITERS[suffix], columns=columns, limit=limit))
    start = stream.peek(1).lstrip()[:1]
    records = (line for line in numbered if line[1].strip())
    if suffix in JSON_LINES or (not suffix and start == b"{"):
        if start == b"[":
            raise SourceError("holds one JSON array, not one object a line")
        return _Format(records, _json)
    return _Format((line for line in records if not line[1].lstrip().startswith(b"#")), str)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except ValueError as error:  # json's own error apart, only int's
        raise ValueError("JSON with a number of too many digits") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


# Values


def _shown(raw: bytes, limit: int) -> str:
    text = raw.decode(errors="backslashreplace")
    return text if len(raw) <= limit else text[:CUT_CHARACTERS]


def _doi(raw: str, limits: LimitSettings) -> str:
    return normalize(raw, max_bytes=limits.doi_bytes)


def _text(name: str, value: Any) -> str | None:
    if isinstance(value, list | tuple) and len(value) <= 1:
        value = value[0] if value else None
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"the {name} is not a text")  # noqa: TRY004
    if "\0" in value or not _encodable(value):
        raise ValueError(f"the {name} holds a NUL or half a surrogate pair")
    return value.strip() or None


def _encodable(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _year(name: str, value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    given = str(value) if is_number else _text(name, value)
    if given is None or given.casefold() in NO_YEAR:
        return None
    found = YEAR.fullmatch(given)
    if not found or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        raise ValueError(f"the {name} is not one from {FIRST_YEAR} to {LAST_YEAR}")
    return int(found[1])


CLEAN: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(METADATA_FIELDS, _text),
    "year": _year,
}


def _limit_size(values: Iterable[Any], limit: int) -> None:
    if sum(len(value.encode()) for value in values if isinstance(value, str)) > limit:
        raise ValueError(f"longer than the limit of {limit} bytes")
