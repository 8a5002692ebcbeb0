"""What the live collection lacks is looked up and queued: on both stores, without Celery."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from schemas.document import Document
from schemas.doi import point_id
from schemas.record import Record
from worker.completion import Completion
from worker.contents import Contents
from worker.ingest.producer import Producer
from worker.ledger.ledger import Ledger
from worker.metadata.answers import Answer, Answers
from worker.metadata.index import Index
from worker.metadata.resolver import Resolver
from worker.patience import Patience
from worker.settings.ingest import IngestSettings, LimitSettings
from worker.settings.metadata import MetadataSettings
from worker.store.points import payload
from worker.store.protocol import VectorStore, Write

BARE, DATED, GIVEN, UNKNOWN = (f"10.1000/{name}" for name in ("bare", "dated", "given", "unknown"))
FOREIGN = point_id("10.1000/foreign")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path / "metadata.sqlite")
    known = [
        Document(doi=BARE, title="Found", year=2001, source="crossref"),
        Document(doi=DATED, year=2002, venue="Found", source="crossref"),
        Document(doi=GIVEN, title="Found", abstract="Found", source="crossref"),
    ]
    answers = Answers({document.doi: Answer(document) for document in known}, {UNKNOWN})
    made.keep(
        "crossref", answers, asked_at=0.0, until=dict.fromkeys([*answers.found, UNKNOWN], 9e9)
    )
    return made


@pytest.fixture
def producer(ledger: Ledger) -> Producer:
    return Producer(
        ledger,
        lambda _job, _number: None,
        options=IngestSettings(),
        limits=LimitSettings(),
        patience=Patience(),
    )


@pytest.fixture
def complete(
    producer: Producer, store: VectorStore, index: Index, tmp_path: Path
) -> Iterator[Callable[..., Completion]]:
    stored = [
        Document(doi=BARE),
        Document(doi=DATED, year=1999),
        Document(doi=GIVEN, title="Given"),
        Document(doi=UNKNOWN),
    ]
    store.create("dois-1", dimension=4)
    payloads = [payload(Record.of(d, 5), job="a", text_from="doi") for d in stored]
    ids = [point_id(document.doi) for document in stored]
    vectors = np.eye(4, dtype=np.float32)
    store.upsert("dois-1", Write(ids, vectors, payloads), revisions=())
    foreign = Write([FOREIGN], vectors[:1], [{"doi": "10.1000/foreign"}])
    store.upsert("dois-1", foreign, revisions=())
    store.publish(["dois"], collection="dois-1")
    made: list[Resolver] = []

    def completion(want: str = "title") -> Completion:
        settings = MetadataSettings.model_validate({"want": want})
        made.append(Resolver(index, [], settings=settings))
        return Completion(
            made[-1],
            producer,
            contents=opened,
            wanted={"title", want},
            folder=tmp_path,
        )

    @contextmanager
    def opened() -> Iterator[Contents]:
        yield Contents(store, alias="dois")

    yield completion
    for resolver in made:
        resolver.close()


def queued(completion: Completion, producer: Producer, ledger: Ledger) -> dict[str, Document]:
    """What a pass queues, by DOI."""
    with completion.survey() as lacking:
        begun = completion.begin(lacking, check=lambda: None)
        if begun is None:
            return {}
        producer.fill(begun.job, begun.records)
    claim = ledger.claim(begun.job.id, 0)
    assert claim
    return {document.doi: document for document in claim.batch.documents}


def test_what_a_record_lacks_is_queued_and_nothing_else(
    complete: Callable[..., Completion], producer: Producer, ledger: Ledger
) -> None:
    completion = complete()
    with completion.survey() as lacking:
        assert {doi: set(fields) for doi, fields in lacking} == {
            BARE: set(),
            DATED: {"year"},
            UNKNOWN: set(),
        }
    found = queued(completion, producer, ledger)
    assert {doi: document.metadata for doi, document in found.items()} == {
        BARE: {"title": "Found", "year": 2001},
        DATED: {"venue": "Found"},
    }
    assert {document.source for document in found.values()} == {"crossref"}
    assert queued(completion, producer, ledger) == {}, "within the hour"


def test_an_abstract_is_queued_where_it_is_wanted(
    complete: Callable[..., Completion], producer: Producer, ledger: Ledger
) -> None:
    found = queued(complete("abstract"), producer, ledger)
    assert found[GIVEN].metadata == {"abstract": "Found"}
