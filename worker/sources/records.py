"""Sources of records: files and standard input, streamed to documents, never read whole.

A bad line is a `Rejection`, and the next line is read as if it had not been there; a source that
as a whole isn't to be read, or holds no record, is a `SourceError`, after all that could be read.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from schemas.document import Document
from schemas.job import NO_DOI, Rejection
from worker.errors import NoRecord, SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.columns import DOCUMENT, Columns, Vocabulary
from worker.sources.encodings import SAMPLE_BYTES, likely_encoding
from worker.sources.fields import Found, document, picked
from worker.sources.formats import Cut, cut
from worker.sources.options import SourceOptions
from worker.sources.parsing import CUT_CHARACTERS, attempt, told
from worker.sources.report import Report
from worker.sources.shapes import first_line_tells
from worker.sources.streams import (
    NOT_UTF_8,
    STANDARD_INPUT,
    NotUtf8,
    Opened,
    opened,
    source_name,
)

T = TypeVar("T")
DEFAULT = SourceOptions()


def read(
    source: str,
    *,
    limits: LimitSettings,
    options: SourceOptions = DEFAULT,
    report: Report | None = None,
) -> Iterator[Document | Rejection]:
    """Each record of a source, in order: a document, or what was rejected and why.

    `source` is a path, or `-` for standard input, in one of `worker.sources.formats.FORMATS`,
    plain or compressed: that, and its encoding, are told by what it holds, unless `options` say
    so. A rejection names the line, counted from 1, on which its record begins, and gives it in
    full up to the record's limit; its reason is `NO_DOI` where a row has none.

    Which columns were used, and which fields were dropped of records, goes to `report`. Raises
    `SourceError` where the source can't be read (on), after all that came before, and where it
    holds something but no record that can be read.
    """
    seen = report or Report()
    parse = partial(document, limits=limits)
    reader = _Reader(source, DOCUMENT, limits=limits, options=options, report=seen)
    for number, found in reader.records(parse):
        if isinstance(found, Found):
            if found.dropped:
                seen.drop(source_name(source), number, found.dropped)
            yield found.document
        else:
            yield found


def records(
    source: str,
    parse: Callable[[Any], T],
    *,
    vocabulary: Vocabulary,
    limits: LimitSettings,
    options: SourceOptions = DEFAULT,
    report: Report | None = None,
) -> Iterator[T | Rejection]:
    """Each record of a source as `parse` makes it, in order, as `read` does for documents.

    `parse` is given the fields of `vocabulary` that a record has, by name, or a text for a line of
    text, or what else a JSON value is; where it raises ValueError, the record is rejected for that
    reason (for a bug's error too, see `attempt`). Raises as `read` does.
    """
    seen = report or Report()
    reader = _Reader(source, vocabulary, limits=limits, options=options, report=seen)
    return (found for _, found in reader.records(parse))


def as_rejections(found: Iterator[T | Rejection], report: Report) -> Iterator[T | Rejection]:
    """Records as they come; that a source gave rejections alone is a note, and ends nothing."""
    rejected = False
    try:
        for item in found:
            rejected = rejected or isinstance(item, Rejection)
            yield item
    except NoRecord as error:
        if not rejected:
            raise
        report.note(str(error))


def identity(sources: Sequence[str], options: SourceOptions = DEFAULT) -> str | None:
    """What tells whether sources give the same: a SHA-256 (hex) of paths, sizes, times, options.

    None where one is standard input, which can't be read again. Raises `SourceError` for a file
    that is not there.
    """
    if STANDARD_INPUT in sources:
        return None
    facts: list[Any] = [_facts(source) for source in sources]
    if options != DEFAULT:
        facts.append(options)
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _facts(source: str) -> tuple[str, int, int]:
    try:
        path = Path(source).resolve(strict=True)
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{source_name(source)}: {error.strerror or error}") from error
    return str(path), stat.st_size, stat.st_mtime_ns


class _Reader:
    """Reads one source, and knows at its end what became of it."""

    def __init__(
        self,
        source: str,
        vocabulary: Vocabulary,
        *,
        limits: LimitSettings,
        options: SourceOptions,
        report: Report,
    ) -> None:
        self._source = source
        self._name = source_name(source)
        self._vocabulary = vocabulary
        self._limit = limits.record_bytes
        self._options = options
        self._report = report
        self._read = 0
        self._rejected = 0
        self._first = ""  # reason
        self._foreign = 0  # records that are not UTF-8
        self._sample = bytearray()  # of them

    def records(self, parse: Callable[[Any], T]) -> Iterator[tuple[int, T | Rejection]]:
        """Each record, by its line, as `parse` makes it, or what was rejected."""
        encoding, enough = self._options.encoding, first_line_tells
        try:
            columns = Columns(self._vocabulary, self._options.columns)
            with (
                opened(self._source, encoding=encoding, enough=enough) as source,
                self._report.following(source.position),
            ):
                if source.head.strip() or not source.is_whole:
                    yield from self._held(source, parse, columns)
        except SourceError as error:
            raise type(error)(f"{self._name}: {error}") from error

    def _held(
        self, source: Opened, parse: Callable[[Any], T], columns: Columns
    ) -> Iterator[tuple[int, T | Rejection]]:
        options, limit = self._options, self._limit
        try:
            found = cut(self._source, source, options=options, columns=columns, limit=limit)
            yield from self._parsed(found, parse, columns)
        finally:
            self._tell(columns)
        if not self._read:
            raise self._no_record(columns)
        if self._options.columns and (missing := columns.missing()):
            raise missing

    def _parsed(
        self, found: Cut, parse: Callable[[Any], T], columns: Columns
    ) -> Iterator[tuple[int, T | Rejection]]:
        if found.preamble:
            self._report.note(f"{self._name}: above its header line: {'; '.join(found.preamble)}")

        def read(raw: Any) -> T:
            value = found.read(raw)
            if not found.is_picked and isinstance(value, Mapping):
                value = picked(value, columns)
            return parse(value)

        for number, raw in found.records:
            try:
                made = attempt(read, raw)
            except ValueError as error:
                self._count(raw, error)
                yield number, Rejection(self._name, number, self._shown(raw), str(error))
            else:
                self._read += 1
                yield number, made

    def _count(self, raw: Any, error: ValueError) -> None:
        self._rejected += 1
        self._first = self._first or str(error)
        if isinstance(error, NotUtf8) and isinstance(raw, bytes):
            self._foreign += 1
            self._sample += raw[: SAMPLE_BYTES - len(self._sample)]

    def _shown(self, raw: Any) -> str:
        if not isinstance(raw, bytes):
            return told(dict(raw))
        text = raw.decode(errors="backslashreplace")
        return text if len(raw) <= self._limit else text[:CUT_CHARACTERS]

    def _tell(self, columns: Columns) -> None:
        self._report.use(self._name, columns.use)
        for note in columns.notes:
            self._report.note(f"{self._name}: {note}")
        if self._foreign:
            self._report.note(f"{self._name}: {self._guess()} ({self._foreign:,} lines)")

    def _guess(self) -> str:
        if self._options.encoding:
            return f"not {self._options.encoding}"
        name = likely_encoding(bytes(self._sample))
        return f"{NOT_UTF_8}; it looks like {name}: --encoding {name} reads it"

    def _no_record(self, columns: Columns) -> SourceError:
        """That there was something, but nothing that a record could be made of, and why."""
        if self._foreign:
            return NoRecord(self._guess())
        if missing := columns.missing():
            if columns.are_tags and self._first == NO_DOI:
                return NoRecord(f"none of its {self._rejected:,} records has a DOI: {missing}")
            return NoRecord(str(missing))
        if not self._rejected:
            return NoRecord("it holds no record")
        return NoRecord(f"none of its {self._rejected:,} records can be read: {self._first}")
