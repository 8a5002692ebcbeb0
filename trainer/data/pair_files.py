"""Files of labelled pairs, as they come from outside: a pair a row, or why it was rejected."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from sys import intern
from typing import Any

import pyarrow as pa

from schemas.doi import normalize
from schemas.job import Rejection
from schemas.pair import LabelledPair
from worker.errors import SourceError
from worker.settings import LimitSettings
from worker.sources import parquet
from worker.sources.parsing import CUT_CHARACTERS, attempt, told
from worker.sources.records import records
from worker.sources.streams import STANDARD_INPUT, decoded
from worker.sources.tables import check_columns

PARQUET = ".parquet"
COLUMNS = ({"doi_a", "doi_b", "label"}, {"sentence_0", "sentence_1", "label"})
TEXTS = ("doi_a", "doi_b", "sentence_0", "sentence_1", "source", "group")
TAKEN = {*TEXTS, "label"}
LABELS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1}
NAME_CHARACTERS = 500  # of a source or a group


def read(source: str, *, limits: LimitSettings) -> Iterator[LabelledPair | Rejection]:
    """Each row of a file of pairs, in order: a pair, or what was rejected and why.

    The file is .csv, .tsv or .jsonl, each also with .gz or .xz, or .parquet; `-` is JSON lines
    from standard input. Its columns are `doi_a` and `doi_b` (or `sentence_0`, `sentence_1`),
    `label` (0 or 1, also 0.0 and 1.0), and where it has them `source`, else the file's name,
    and `group`, else `doi:` and the first DOI. DOIs are normalized as the worker does. A
    rejection names the line (of Parquet, the row), counted from 1, and its first 200 characters.

    Raises `SourceError` where the file can't be read (on), after all that came before.
    """
    if ".txt" in PurePath(source.lower()).suffixes[-2:]:
        raise SourceError(f"{source}: a .txt has no columns; pairs come as a table or JSON lines")
    parse = partial(pair, default_source=_stem(source), limits=limits)
    if source.lower().endswith(PARQUET):
        return _parquet(source, lambda row: parse(_decoded(row, limit=limits.record_bytes)))
    found = records(source, parse, columns=COLUMNS, limits=limits)
    return (_cut(item) if isinstance(item, Rejection) else item for item in found)


def pair(row: Any, *, default_source: str, limits: LimitSettings) -> LabelledPair:
    """The pair of a row: a mapping with two DOIs and a label; raises ValueError with the reason."""
    if not isinstance(row, Mapping):
        raise ValueError("not a row with `doi_a`, `doi_b` and `label`")  # noqa: TRY004
    fields = {str(name).casefold(): value for name, value in row.items()}
    given = {name: _text(name, fields.get(name)) for name in TEXTS}
    if sum(len(text) for text in given.values()) > limits.record_bytes:
        raise ValueError(f"longer than the limit of {limits.record_bytes} bytes")
    doi_a = _doi(given, ("doi_a", "sentence_0"), limits=limits)
    doi_b = _doi(given, ("doi_b", "sentence_1"), limits=limits)
    if doi_a == doi_b:
        raise ValueError("a pair of a DOI with itself")
    source = given["source"] or default_source
    if not source.partition(":")[0].strip():
        raise ValueError("the source has no name before its colon")
    group = given["group"] or f"doi:{doi_a}"
    # Millions of rows repeat the same few texts.
    return LabelledPair(intern(doi_a), intern(doi_b), _label(fields), intern(source), intern(group))


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"the {name} is not a text")  # noqa: TRY004
    text = value.strip()
    if name in {"source", "group"} and len(text) > NAME_CHARACTERS:
        raise ValueError(f"the {name} is longer than {NAME_CHARACTERS} characters")
    if name in {"source", "group"} and not text.isprintable():
        raise ValueError(f"the {name} holds a character that can't be printed")
    return text


def _doi(given: Mapping[str, str], names: Iterable[str], *, limits: LimitSettings) -> str:
    for name in names:
        if given[name]:
            try:
                return normalize(given[name], max_bytes=limits.doi_bytes)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    raise ValueError(f"no `{next(iter(names))}`")


def _label(fields: Mapping[str, Any]) -> int:
    value = fields.get("label")
    label = LABELS.get(str(value).strip()) if isinstance(value, str | int | float) else None
    if label is None:
        raise ValueError("the label is neither 0 nor 1")
    return label


def _stem(source: str) -> str:
    name = "stdin" if source == STANDARD_INPUT else PurePath(source).name
    text = "".join(c for c in name.partition(".")[0] if c.isprintable() and c != ":").strip()
    return text or "file"


def _parquet(
    source: str, parse: Callable[[Any], LabelledPair]
) -> Iterator[LabelledPair | Rejection]:
    try:
        for number, row in enumerate(parquet.rows(Path(source), _columns), start=1):
            try:
                yield attempt(parse, row)
            except ValueError as error:
                shown = {name: _shown(value) for name, value in row.items()}
                yield Rejection(source, number, told(shown), str(error))
    except UnicodeDecodeError as error:
        raise SourceError(f"{source}: damaged: a column's name is not UTF-8") from error
    except (pa.ArrowException, OSError, SourceError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise SourceError(f"{source}: {reason}") from error


def _columns(names: Sequence[str]) -> list[str]:
    taken = [name for name in names if name.casefold() in TAKEN]
    folded = [name.casefold() for name in taken]
    check_columns(folded, COLUMNS)
    check_columns(folded, [set(folded)])
    return taken


def _decoded(row: Mapping[str, Any], *, limit: int) -> dict[str, Any]:
    return {
        name: decoded(value, limit) if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def _shown(value: Any) -> Any:
    is_text = isinstance(value, bytes)
    return value[:CUT_CHARACTERS].decode(errors="backslashreplace") if is_text else value


def _cut(rejection: Rejection) -> Rejection:
    return rejection._replace(raw=rejection.raw[:CUT_CHARACTERS])
