"""Arrays of JSON are cut into their values, wherever a block ends."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.elements import Start, array_start, elements
from worker.sources.records import read

TEXTS = st.text('a"\\[]{},: \n\té', max_size=6)
VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=5)
INDENTS = st.sampled_from([None, 0, 2])
SIZES = st.integers(1, 40)


class Dripping(io.BufferedReader):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(io.BytesIO(content))
        self._size = size

    def read1(self, size: int = -1, /) -> bytes:  # noqa: ARG002
        return super().read1(self._size)


def cut(text: str, *, size: int = 10**6, limit: int = 10**6) -> list[Any]:
    raw = text.encode()
    found = list(elements(Dripping(raw, size), array_start(raw), limit=limit))
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    return [json.loads(element) for _, element in found]


@given(st.lists(VALUES, max_size=5), INDENTS, SIZES)
def test_the_values_of_any_array_are_cut(values: list, indent: int | None, size: int) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    assert cut(text, size=size) == values


@given(OBJECTS, INDENTS, SIZES, st.sampled_from(["items", "results", "data", "message"]))
def test_an_array_is_found_in_a_registrys_answer(
    values: list, indent: int | None, size: int, name: str
) -> None:
    inner = {"facets": {"items": [1]}, "total": 3, "items": values, "items-per-page": 20}
    answer = {"message": inner} if name == "message" else {"meta": {"data": [2]}, name: values}
    text = json.dumps({"status": "ok"} | answer | {"links": [1, {"a": "]"}]}, indent=indent)
    assert cut(text, size=size) == values


@given(st.lists(st.dictionaries(TEXTS, VALUES, min_size=1), max_size=4), INDENTS, SIZES)
def test_objects_one_after_the_other_are_cut(values: list, indent: int | None, size: int) -> None:
    raw = "\n".join(json.dumps(value, indent=indent) for value in values).encode()
    found = elements(Dripping(raw, size), None, limit=10**6)
    assert [json.loads(element) for _, element in found] == values


def test_a_value_is_told_by_the_line_on_which_it_begins() -> None:
    raw = b'[\n {"a":\n 1},\n\n "b",\n {"c": [\n]}\n]\n'
    found = list(elements(Dripping(raw, 3), Start(1, 0), limit=100))
    assert found == [(2, b'{"a":\n 1}'), (5, b'"b"'), (6, b'{"c": [\n]}')]


def test_of_a_long_value_no_more_is_kept_than_tells_that_it_is_long() -> None:
    raw = b'["' + b"x" * 1000 + b'", {"a": 1}]'
    assert [len(element) for _, element in elements(Dripping(raw, 7), Start(1, 0), limit=20)] == [
        21,
        8,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"b":', "its JSON ends too early, in what begins on line 1"),
        ('[{"a": 1}', "its JSON ends too early"),
        ('[{"a": "', "its JSON ends too early"),
        ('{"a": 1}}', "its brackets don't match on line 1"),
        ('[{"a": 1}}', "its brackets don't match"),
        ('[{"a": 1}]\n[{"b": 2}]', "holds something behind its array"),
        ('{"items": [{"a": 1}]}\n{"items": [{"b": 2}]}', "holds something behind its array"),
        ('{"items": [{"a": 1}], "next": {', "its JSON ends too early"),
    ],
)
def test_what_does_not_end_as_it_must_is_told(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        cut(text, size=5)


@pytest.mark.parametrize(
    "text",
    [
        '{"doi": "10.1000/a", "data": [{"a": 1}]}',
        '{"reference": [{"doi": "10.1000/a"}]}',
        '{"data": ["10.1000/a"]}',
        '{"a": 1}\n{"items": [{"a": 1}]}',
        '{"a": {"items": [{"a": 1}]}}',
        '"items"',
    ],
)
def test_the_array_of_a_record_is_none_of_records(text: str) -> None:
    assert array_start(text.encode()) is None


def test_a_bad_value_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"doi": "10.1000/a"},\n {"doi": 1,},\n "10.1000/b", 3, {"doi": "10.1000/c"}]')
    found = list(read(str(path), limits=LimitSettings()))
    assert [getattr(r, "doi", None) or (r.line, r.reason[:8]) for r in found] == [
        "10.1000/a",
        (2, "not JSON"),
        "10.1000/b",
        (3, "neither "),
        "10.1000/c",
    ]
