"""What a collection holds, read on both stores; and into files."""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.document import Document
from schemas.doi import point_id
from tests.support.vectors import DIMENSION, NOW, payload, vectors
from worker import export
from worker.contents import Contents, Lack
from worker.errors import CollectionMissing, Unanswerable
from worker.files import replacing
from worker.store.protocol import VectorStore, Write

TITLED = [
    Document(doi=f"10.1000/t{n}", title=f"Title «{n}»\n", year=2000 + n, venue="V", abstract="A.")
    for n in range(300)
]
BARE = [Document(doi=f"10.1000/b{n}") for n in range(300)]
FIELDS = {"title": {"sequence": NOW, "source": "given"}, "year": {"sequence": 7, "source": "x"}}


class Shelf:
    """An alias whose live collection holds some records."""

    def __init__(self, store: VectorStore) -> None:
        self.store = store
        self.alias = f"a{uuid.uuid4().hex[:8]}"
        self.live, self.older = (f"{self.alias}-{digit * 16}" for digit in "ab")
        for name in (self.live, self.older):
            store.create(name, dimension=DIMENSION)
        store.publish([self.alias], collection=self.live)

    def put(self, documents: Sequence[Document], *, into: str | None = None, **more: Any) -> None:
        write = Write(
            [point_id(document.doi) for document in documents],
            vectors([document.doi for document in documents]),
            [{**payload(document, sequence=NOW), **more} for document in documents],
        )
        self.store.upsert(into or self.live, write, revisions=())

    @property
    def contents(self) -> Contents:
        return Contents(self.store, alias=self.alias)


@pytest.fixture
def shelf(store: VectorStore) -> Shelf:
    made = Shelf(store)
    made.put(TITLED)
    made.put(BARE)
    return made


def test_what_a_list_lacks_is_found_in_its_order(shelf: Shelf) -> None:
    asked = [d.doi for pair in zip(TITLED, BARE, strict=True) for d in pair] * 3
    asked.insert(5, "10.1000/absent")
    found = list(shelf.contents.missing(iter(asked)))
    assert found[:3] == [
        (BARE[0].doi, Lack.TITLE),
        (BARE[1].doi, Lack.TITLE),
        ("10.1000/absent", Lack.RECORD),
    ]
    assert {lack for doi, lack in found if doi.startswith("10.1000/b")} == {Lack.TITLE}
    assert not [doi for doi, _ in found if doi.startswith("10.1000/t")]


def test_lists_are_read_as_they_are_asked_for(shelf: Shelf) -> None:
    given: list[int] = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            given.append(number)
            yield f"10.1000/n{number}"
            number += 1

    found = shelf.contents.missing(endless())
    assert [next(found) for _ in range(2000)][-1] == ("10.1000/n1999", Lack.RECORD)
    assert len(given) < 4000


def test_what_is_known_of_a_doi_is_what_every_collection_has(shelf: Shelf) -> None:
    shelf.put([TITLED[0], Document(doi="10.1000/left")], into=shelf.older)
    known = shelf.contents.look(TITLED[0].doi)
    assert (known.collection, known.others) == (shelf.live, (shelf.older,))
    assert known.payload == payload(TITLED[0], sequence=NOW)
    assert shelf.contents.look("10.1000/left") == (shelf.live, None, (shelf.older,))
    assert shelf.contents.look("10.1000/absent") == (shelf.live, None, ())


def test_nothing_is_ingested_yet(store: VectorStore) -> None:
    with pytest.raises(Unanswerable, match="nothing is ingested yet"):
        Contents(store, alias="none")


@pytest.mark.parametrize("with_vectors", [False, True])
def test_every_record_is_given_once_in_bounded_pages(shelf: Shelf, *, with_vectors: bool) -> None:
    pages = list(shelf.contents.records(vectors=with_vectors))
    assert max(map(len, pages)) <= 256
    records = {record["doi"]: record for page in pages for record in page}
    assert sum(map(len, pages)) == len(records) == 600
    for document in (TITLED[7], BARE[7]):
        record = dict(records[document.doi])
        if with_vectors:
            vector = record.pop("vector")
            np.testing.assert_allclose(vector, vectors([document.doi])[0], atol=1e-6)
        assert record == payload(document, sequence=NOW)


def test_json_lines_hold_all_of_every_record(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    assert export.write(shelf.contents.records(vectors=True), path, form="jsonl", vectors=True)
    records = {r["doi"]: r for r in map(json.loads, path.read_text("utf-8").split("\n")[:-1])}
    assert len(records) == 600
    own = records[TITLED[3].doi]
    np.testing.assert_allclose(own.pop("vector"), vectors([TITLED[3].doi])[0], atol=1e-6)
    assert own == payload(TITLED[3], sequence=NOW)


def pages(*records: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    for record in records:
        yield [record]


def test_parquet_has_a_column_for_each_field_and_one_for_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    ours = {**payload(TITLED[0], sequence=NOW), "fields": FIELDS, "revision": "r", "text_from": "t"}
    foreign = {"doi": "10.1000/f", "year": "in press", "title": 7, "tags": ["a"], "sequence": 2**70}
    written = pages(ours, {}, foreign)
    assert export.write(written, path, form="parquet", vectors=False) == 3
    first, empty, last = pq.read_table(path).to_pylist()
    assert json.loads(first.pop("fields")) == FIELDS
    assert {name: value for name, value in first.items() if value is not None} == {
        name: value for name, value in ours.items() if name != "fields"
    }
    assert set(empty.values()) == {None}
    assert (last["doi"], last["year"], last["title"]) == ("10.1000/f", None, None)
    assert json.loads(last["other"]) == {n: v for n, v in foreign.items() if n != "doi"}


def test_vectors_in_parquet(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    export.write(shelf.contents.records(vectors=True), path, form="parquet", vectors=True)
    table = pq.read_table(path)
    assert str(table.schema.field("vector").type) == "list<element: float>"
    rows = {row["doi"]: row["vector"] for row in table.to_pylist()}
    np.testing.assert_allclose(rows[BARE[1].doi], vectors([BARE[1].doi])[0], atol=1e-6)
    assert pq.ParquetFile(path).num_row_groups == 1


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"all.{form}"
    path.write_text("before")

    def cut_off() -> Iterator[list[dict[str, Any]]]:
        yield [{"doi": "10.1000/1"}] * 20_000
        assert path.read_text() == "before"
        raise CollectionMissing("pruned")

    with pytest.raises(CollectionMissing):
        export.write(cut_off(), path, form=form, vectors=False)
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208
    assert path.read_text() == "before"


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with replacing(path) as made:
        made.write_text("new")
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    assert path.read_text() == "new"
