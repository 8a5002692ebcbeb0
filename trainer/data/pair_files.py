"""Files of labelled pairs, as they come from outside: a pair a row, or why it was rejected."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

from schemas.doi import normalize
from schemas.job import Rejection
from schemas.pair import LabelledPair
from worker.settings.ingest import LimitSettings
from worker.sources.columns import Vocabulary
from worker.sources.options import SourceOptions
from worker.sources.parsing import CUT_CHARACTERS
from worker.sources.records import DEFAULT, records
from worker.sources.report import Report
from worker.sources.streams import STANDARD_INPUT

VOCABULARY = Vocabulary(
    {
        # sentence-transformers' data sets: sentence_0, sentence1, label, score
        "doi_a": ("doi_a", "sentence_0", "sentence1", "doi1", "doi_1"),
        "doi_b": ("doi_b", "sentence_1", "sentence2", "doi2", "doi_2"),
        "label": ("label", "score"),
        "source": ("source",),
        "group": ("group",),
    },
    ("doi_a", "doi_b", "label"),
)
TEXTS = ("doi_a", "doi_b", "source", "group")
LABELS = {"true": 1, "false": 0}
NUMBER = re.compile(r"\+?([01])(?:\.0*)?")
NAME_CHARACTERS = 500  # of a source or a group


def read(
    source: str,
    *,
    limits: LimitSettings,
    options: SourceOptions = DEFAULT,
    report: Report | None = None,
) -> Iterator[LabelledPair | Rejection]:
    """Each row of a file of pairs, in order: a pair, or what was rejected and why.

    The file is read as `worker.sources.records.read` reads one. Its columns are `doi_a` and `doi_b`
    (or `sentence_0`, `sentence_1`, or `sentence1`, `sentence2`), `label` or `score` (0 or 1, also
    1.00, True, False), and where it has them `source`, else the file's name, and `group`, else
    `doi:` and the first DOI. DOIs are normalized as the worker does. A rejection names the line
    (of Parquet, the row), counted from 1, and its first 200 characters.

    Raises `SourceError` where the file can't be read (on), after all that came before.
    """
    parse = partial(pair, default_source=_stem(source), limits=limits)
    found = records(
        source, parse, vocabulary=VOCABULARY, limits=limits, options=options, report=report
    )
    return (_cut(item) if isinstance(item, Rejection) else item for item in found)


def pair(row: Any, *, default_source: str, limits: LimitSettings) -> LabelledPair:
    """The pair of a row: a mapping with two DOIs and a label; raises ValueError with the reason."""
    if not isinstance(row, Mapping):
        raise ValueError("not a row with `doi_a`, `doi_b` and `label`")  # noqa: TRY004
    given = {name: _text(name, row.get(name)) for name in TEXTS}
    if sum(len(text) for text in given.values()) > limits.record_bytes:
        raise ValueError(f"longer than the limit of {limits.record_bytes} bytes")
    doi_a, doi_b = _doi(given, "doi_a", limits=limits), _doi(given, "doi_b", limits=limits)
    if doi_a == doi_b:
        raise ValueError("a pair of a DOI with itself")
    source = given["source"] or default_source
    if not source.partition(":")[0].strip():
        raise ValueError("the source has no name before its colon")
    group = given["group"] or f"doi:{doi_a}"
    return LabelledPair(doi_a, doi_b, _label(row.get("label")), source, group)


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


def _doi(given: Mapping[str, str], name: str, *, limits: LimitSettings) -> str:
    if not given[name]:
        raise ValueError(f"no `{name}`")
    try:
        return normalize(given[name], max_bytes=limits.doi_bytes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _label(value: Any) -> int:
    text = str(value).strip().casefold() if isinstance(value, str | int | float) else ""
    if text in LABELS:
        return LABELS[text]
    number = NUMBER.fullmatch(text)
    if not number:
        raise ValueError("the label is neither 0 nor 1")
    return int(number[1])


def _stem(source: str) -> str:
    name = "stdin" if source == STANDARD_INPUT else PurePath(source).name
    text = "".join(c for c in name.partition(".")[0] if c.isprintable() and c != ":").strip()
    return text or "file"


def _cut(rejection: Rejection) -> Rejection:
    return rejection._replace(raw=rejection.raw[:CUT_CHARACTERS])
