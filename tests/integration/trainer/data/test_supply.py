"""Titles are given once: what the collection and the index know is taken in, on both stores."""

import json
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.document import Document
from schemas.doi import point_id
from tests.support.vectors import DIMENSION, NOW, payload, revision, vectors
from trainer.bootstrap import open_stores
from worker.bootstrap import metadata_index
from worker.metadata.answers import Answer, Answers
from worker.settings.environment import Settings
from worker.settings.servers import QdrantSettings
from worker.store.opening import open_store
from worker.store.protocol import Write

GIVEN, STORED, LOOKED_UP, UNKNOWN = DOIS = [f"10.1000/{name}" for name in "abcd"]
TITLE = ("{title}", "{doi}")


class Bench:
    """A trainer's stores beside a collection and an index."""

    def __init__(self, folder: Path, **servers: Any) -> None:
        alias = f"a{uuid.uuid4().hex[:8]}"
        self.folder = folder
        self.settings = Settings(data_dir=folder / "data", collection=alias, **servers)
        self.live = f"{alias}-{'a' * 16}"
        self.stores = open_stores(self.settings)

    def ingest(self, *documents: Document, was: Document | None = None) -> None:
        with closing(open_store(self.settings.qdrant, data_dir=self.settings.data_dir)) as store:
            store.create(self.live, dimension=DIMENSION)
            if store.live(self.settings.collection) is None:
                store.publish([self.settings.collection], collection=self.live)
            dois = [document.doi for document in documents]
            payloads = [payload(document, sequence=NOW) for document in documents]
            ids = [point_id(doi) for doi in dois]
            before = [revision(was, sequence=NOW)] if was else ()
            store.upsert(self.live, Write(ids, vectors(dois), payloads), revisions=before)

    def index(self, *documents: Document) -> None:
        found = {document.doi: Answer(document, NOW // 10**6) for document in documents}
        until = dict.fromkeys(found, NOW / 1e6)
        metadata_index(self.settings).keep(
            "crossref", Answers(found, set()), asked_at=NOW / 1e6, until=until
        )

    def give(self, **fields: Any) -> None:
        path = self.folder / "given.jsonl"
        path.write_text(json.dumps({"doi": GIVEN, **fields}))
        self.stores.metadata.import_files([str(path)])

    def supply(self, *, templates: Sequence[str] = TITLE) -> list[str]:
        return self.stores.supply(set(DOIS), templates=templates)

    @property
    def titles(self) -> dict[str, str | None]:
        return {doi: d.title for doi, d in self.stores.metadata.documents().items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(params=["server", "edge"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "edge":
        return Bench(tmp_path)
    server = request.getfixturevalue("qdrant_server")
    return Bench(tmp_path, qdrant=QdrantSettings(url=server.url, grpc_port=server.grpc_port))


def test_what_others_know_fills_what_was_not_given(either: Bench) -> None:
    either.give(title="Given")
    both = Document(doi=GIVEN, title="Stored", year=2001)
    either.ingest(both, Document(doi=STORED, title="Stored"), Document(doi=LOOKED_UP))
    either.index(*(Document(doi=doi, title="Indexed", venue="V") for doi in DOIS[:3]))
    assert either.supply() == [
        "titles of 4 DOIs: 1 given, 1 from the live collection, 1 from the index of metadata, "
        "1 unknown"
    ]
    assert either.titles == {GIVEN: "Given", STORED: "Stored", LOOKED_UP: "Indexed"}
    version = either.stores.metadata.version
    either.supply()
    assert either.stores.metadata.version == version, "nothing new, no shard"
    either.supply(templates=("{title}. {year}",))
    found = either.stores.metadata.documents([GIVEN])[GIVEN]
    assert (found.title, found.year) == ("Given", 2001), "asked for, for what the template reads"
    assert either.stores.metadata.version != version


def test_what_changes_at_its_source_is_taken_in_again(bench: Bench) -> None:
    before = Document(doi=STORED, title="Stored")
    bench.ingest(before)
    bench.supply()
    versions = [bench.stores.metadata.version]
    for was, now in ((before, "Corrected"), (before.model_copy(update={"title": "Corrected"}), "")):
        document = Document(doi=STORED, title=now or "Stored")
        bench.ingest(document, was=was)
        bench.supply()
        assert bench.titles == {STORED: document.title}
        versions.append(bench.stores.metadata.version)
    assert len(set(versions)) == 3, "what changes back is another version, that came later"
    bench.index(Document(doi=STORED, title="Indexed"))
    bench.supply()
    assert bench.stores.metadata.version == versions[-1], "the index is asked for what is lacking"


def test_what_was_given_counts_though_it_came_later_and_says_the_same(bench: Bench) -> None:
    bench.ingest(Document(doi=GIVEN, title="Stored", year=2001))
    bench.supply()
    bench.give(title="Stored")
    bench.ingest(
        Document(doi=GIVEN, title="Another"), was=Document(doi=GIVEN, title="Stored", year=2001)
    )
    bench.supply(templates=("{title} {venue}",))
    assert bench.titles == {GIVEN: "Stored"}


def test_without_a_collection_or_an_index_nothing_fails_and_nothing_is_made(bench: Bench) -> None:
    bench.give(title="Given")
    (said,) = bench.supply()
    assert said.startswith("titles of 4 DOIs: 1 given, 0 from")
    assert {path.name for path in bench.settings.data_dir.iterdir()} == {"trainer"}


def test_templates_of_dois_alone_ask_nobody(bench: Bench) -> None:
    bench.ingest(Document(doi=STORED, title="Stored"))
    assert bench.supply(templates=("{doi}",)) == []
    assert bench.titles == {}


def test_a_store_that_is_in_use_is_told_and_the_index_asked_all_the_same(bench: Bench) -> None:
    bench.ingest(Document(doi=STORED, title="Stored"))
    bench.index(Document(doi=LOOKED_UP, title="Indexed"))
    with closing(open_store(bench.settings.qdrant, data_dir=bench.settings.data_dir)):
        told, _ = bench.supply()
    assert told.startswith("the live collection was not asked for all texts: ")
    assert "is in use by process" in told
    assert bench.titles == {LOOKED_UP: "Indexed"}


def test_a_server_that_is_away_takes_nothing_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ingest(Document(doi=STORED, title="Stored"))
    bench.supply()
    bench.index(*(Document(doi=doi, title="Indexed") for doi in (STORED, LOOKED_UP)))
    away = QdrantSettings(url="http://127.0.0.1:9", grpc_port=9, timeout_s=1)
    settings = bench.settings.model_copy(update={"qdrant": away})
    told, said = open_stores(settings).supply(set(DOIS), templates=TITLE)
    assert told.startswith("the live collection was not asked for all texts: ")
    assert "1 from the live collection, 1 from the index of metadata" in said
    assert bench.titles == {STORED: "Stored", LOOKED_UP: "Indexed"}


def test_an_index_that_is_damaged_is_told(bench: Bench) -> None:
    (bench.settings.data_dir / "metadata.sqlite").parent.mkdir(parents=True)
    (bench.settings.data_dir / "metadata.sqlite").write_bytes(b"no database" * 1000)
    told, _ = bench.supply()
    assert told.startswith("the index of metadata was not asked for all texts: ")
