"""A parser's bug costs one record, and is told once."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Document
from schemas.job import Rejection
from tests.support.paths import ROOT
from trainer.data import pair_files
from trainer.data.pair_files import pair
from worker.errors import InternalError, SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.columns import DOCUMENT
from worker.sources.fields import given as document_of
from worker.sources.parsing import attempt, told
from worker.sources.records import read, records
from worker.sources.report import Report

LIMITS = LimitSettings()


def short(raw: Any) -> str:
    """A parser with a bug: it does not look for what is empty."""
    if raw == "bad":
        raise ValueError("bad")
    return str(raw[0])


def lines(path: Path) -> Iterator[Any]:
    return records(str(path), short, vocabulary=DOCUMENT, limits=LIMITS)


def test_a_parsers_bug_costs_one_record_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('"one"\n""\n"bad"\n""\n[]\n"two"\n{"a": 1}\n')
    with caplog.at_level(logging.ERROR):
        found = list(lines(path))
    assert [r if isinstance(r, str) else (r.line, r.reason) for r in found] == [
        "o",
        (2, "internal error"),
        (3, "bad"),
        (4, "internal error"),
        (5, "internal error"),
        "t",
        (7, "internal error"),
    ]
    assert found[1] == Rejection(str(path), 2, '""', "internal error")
    assert [type(r.exc_info[1]) for r in caplog.records if r.exc_info] == [IndexError, KeyError]
    assert all("short" in (r.exc_text or "") for r in caplog.records), "with its traceback"


def test_what_is_no_records_fault_passes() -> None:
    def parse(error: BaseException) -> None:
        raise error

    for error in (MemoryError(), KeyboardInterrupt(), ValueError("why")):
        with pytest.raises(type(error)) as caught:
            attempt(parse, error)
        assert caught.value is error
    with pytest.raises(ValueError, match=r"^internal error$") as bug:
        attempt(parse, OverflowError())
    assert isinstance(bug.value, InternalError)


def test_any_value_can_be_told() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert told(10**5000) == "(int that can't be shown)"
    assert told(deep) == "(list that can't be shown)"
    assert told({"doi": "x" * 1000}) == "{'doi': '" + "x" * 191
    assert told(Document(doi="10.1000/a")).startswith("doi=")
    while deep:  # or freeing it recurses
        deep = deep[0]


def test_foreign_records_are_parsed_in_this_way_alone() -> None:
    """Whoever turns a ValueError into a rejection lets `attempt` decide what is one."""
    for package in ("worker", "trainer", "doivec"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if "Rejection(" in text and "except ValueError" in text:
                assert "attempt(" in text, path


DOIS = st.sampled_from(["10.1000/a", "10.1038/nphys1170 <br> see also", "x", "", "10.1000/\ud800"])
VALUES = st.recursive(
    DOIS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(DOIS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["doi", "DOI", "title", "year", "abstract", "doi_a", "doi_b", "label", "source", "group"]
ROWS = VALUES | st.dictionaries(st.sampled_from(FIELDS), DOIS | VALUES)


@given(ROWS)
@settings(deadline=None)
def test_of_any_value_a_parser_makes_a_record_or_a_value_error(row: Any) -> None:
    for parse in (document_of, partial(pair, default_source="s")):
        with suppress(ValueError):
            parse(row, limits=LIMITS)


PIECES = (*(b',\t"\n\r \0\xff{}[]:#'[n : n + 1] for n in range(13)), b'""', b"10.1000/a", b"1e999")
PIECES += (b"9" * 5000, b"[" * 2000, b'"doi"', b"null", b"doi_b", b"10.1000/b <br> see also")


HEADS = [b"doi,title,year\n", b"doi_a\tdoi_b\tlabel\n", b'{"doi": "10.1000/a"}\n', b""]


@given(
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join),
    st.sampled_from([".csv", ".tsv", ".jsonl", ".txt"]),
    st.sampled_from([64, 100_000]),
)
@settings(deadline=None)
def test_of_any_bytes_a_reader_makes_records_rejections_or_a_source_error(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, body: bytes, suffix: str, limit: int
) -> None:
    path = tmp_path_factory.mktemp("a") / f"a{suffix}"
    path.write_bytes(head + body)
    for reader in (read, pair_files.read):
        with suppress(SourceError):
            found = reader(str(path), limits=LimitSettings(record_bytes=limit))
            assert "internal error" not in {getattr(record, "reason", "") for record in found}


def test_what_is_told_can_be_kept_as_utf_8(tmp_path: Path) -> None:
    assert told({"\ud83d": 1}) == "{'\\ud83d': 1}"
    assert told("a \ud83d") == "a \\ud83d"
    path, report = tmp_path / "a.jsonl", Report()
    path.write_text('{"doi": "10.1000/a", "title": "\\ud83d", "x\\udc00": 1}\n')
    assert len(list(read(str(path), limits=LIMITS, report=report))) == 1
    report.note("\ud83d")
    assert report.reading.model_dump_json().count("\\\\ud") == 3
