"""What other programs send, taken into the ledger record by record."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.document import Document
from worker.ingest.producer import Producer
from worker.ledger.ledger import Ledger
from worker.metadata.answers import Answer, Answers
from worker.metadata.index import Index
from worker.metadata.supplements import Supplements
from worker.patience import Patience
from worker.settings.ingest import IngestSettings, LimitSettings

GOOD = "10.1038/nphys1170"


class Broken(Mapping[str, Any]):
    """A record that does what no parser reckons with."""

    def __getitem__(self, name: str) -> Any:
        raise OSError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(["doi"])

    def __len__(self) -> int:
        return 1


def producer_of(ledger: Ledger, *, batch_records: int = 100, **more: Any) -> Producer:
    return Producer(
        ledger,
        lambda _job, _number: None,
        options=IngestSettings(batch_records=batch_records),
        limits=LimitSettings(),
        patience=Patience(),
        **more,
    )


def test_a_list_is_taken_in_whatever_one_of_its_records_does(ledger: Ledger) -> None:
    producer = producer_of(ledger)
    given: list[Any] = [f"{GOOD} <br> see also", Broken(), 10**5000, [GOOD], {"doi": "10.1000/b"}]
    job = producer.enqueue(given)
    found = ledger.job(job)
    assert (found.read, found.accepted, found.invalid) == (5, 2, 3)
    assert [(r.line, r.reason) for r in ledger.rejections(job)] == [
        (2, "internal error"),
        (3, "neither a DOI nor an object with a `doi`"),
        (4, "neither a DOI nor an object with a `doi`"),
    ]


def batches(ledger: Ledger, job: str) -> Iterator[tuple[list[Any], set[str]]]:
    """What a job's batches hold, and which of their DOIs came before."""
    for number in range(ledger.job(job).batches):
        claim = ledger.claim(job, number)
        assert claim
        documents = claim.batch.documents
        yield [(d.doi[-1], d.title, d.year) for d in documents], {d[-1] for d in claim.batch.again}


def test_of_a_doi_that_comes_again_whatever_is_new_is_kept(ledger: Ledger) -> None:
    a, b, c = (f"10.1000/{letter}" for letter in "abc")
    given: list[Any] = [
        *(a, {"doi": a, "title": "T"}, a),  # merged in its batch; the same again
        *(b, {"doi": a, "year": 1999}),  # merged, too
        *(c, {"doi": a, "title": "U"}, {"doi": a, "title": "V"}),  # of a batch that is gone
        *(c, {"doi": b, "year": 2000}),
    ]
    job = producer_of(ledger, batch_records=2).enqueue(given)
    assert list(batches(ledger, job)) == [
        ([("a", "T", 1999), ("b", None, None)], set()),
        ([("c", None, None), ("a", "V", None)], {"a"}),
        ([("b", None, 2000)], {"b"}),
    ]
    found = ledger.job(job)
    assert (found.read, found.accepted, found.repeated, found.invalid) == (10, 5, 5, 0)


def test_poor_fields_and_rows_without_a_doi_are_counted_apart(ledger: Ledger) -> None:
    producer = producer_of(ledger)
    nothing: dict[str, Any] = {"title": "A book", "doi": None}
    given = [
        {"doi": GOOD, "title": ["One", "Two"], "year": "in press", "venue": 3, "abstract": "We"},
        nothing,
        {"DOI": "nonsense"},
        {"DOI": "10.1000/b", "issued": {"date-parts": [[2020]]}, "year": float("nan")},
    ]
    job = ledger.job(producer.enqueue(given))
    assert (job.read, job.accepted, job.invalid, job.without_doi) == (4, 2, 1, 1)
    assert [r.line for r in ledger.rejections(job.id)] == [3]
    assert job.reading.fields_dropped == 4
    assert [(d.line, d.field, d.value) for d in job.reading.first_dropped] == [
        (1, "title", "Two"),
        (1, "year", "in press"),
        (1, "venue", "3"),
        (4, "year", "nan"),
    ]
    claim = ledger.claim(job.id, 0)
    assert claim is not None
    first = claim.batch.documents[0]
    assert (first.title, first.abstract, first.year, first.venue) == ("One", "We", None, None)


def test_a_bare_list_is_titled_by_the_local_index_and_cut_as_without_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    a, b, c = (f"10.1000/{letter}" for letter in "abc")
    index = Index(tmp_path / "metadata.sqlite")
    known = {
        a: Document(doi=a, title="A", year=2001, abstract="Of A.", source="crossref"),
        b: Document(doi=b, title="B", source="openalex"),
    }
    producer = producer_of(ledger, batch_records=2, supplement=Supplements(index, want="title"))
    given: list[Any] = [a, {"doi": b, "title": "Given"}, c, a]
    before = producer.enqueue(given)
    index.keep(
        "crossref",
        Answers({doi: Answer(document) for doi, document in known.items()}, set()),
        asked_at=0.0,
        until=dict.fromkeys(known, 1.0),
    )
    after = producer.enqueue(given)
    assert [b for b, _ in batches(ledger, before)] == [
        [("a", None, None), ("b", "Given", None)],
        [("c", None, None)],
    ]
    (first, second) = (ledger.claim(after, number) for number in (0, 1))
    assert first
    assert second
    (titled, given_one), (bare,) = first.batch.documents, second.batch.documents
    assert (titled.title, titled.year, titled.abstract) == ("A", 2001, None)
    assert (titled.source, titled.source_of("title")) == ("given", "crossref")
    assert (given_one.title, given_one.source_of("title")) == ("Given", "given")
    assert bare.is_bare


def test_an_index_that_cannot_be_read_holds_nothing_up(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(b"no database" * 1000)
    producer = producer_of(ledger, supplement=Supplements(Index(path), want="title"))
    assert ledger.job(producer.enqueue([GOOD])).accepted == 1
    assert "records come without titles of the local index" in caplog.text
