from datetime import UTC, datetime

import pytest

from schemas.document import Document
from schemas.job import Batch, State
from schemas.record import Record
from worker.ingest.settlement import covers, place, standing
from worker.store.points import payload, record
from worker.store.points import stored as read_back
from worker.store.protocol import Stored

DOI = "10.1038/nature11543"
BARE = Document(doi=DOI)
RICH = Document(doi=DOI, title="A title", year=2012)
NEWER = Document(doi=DOI, title="A better title", year=2012)
MORE = Document(doi=DOI, abstract="What it is about.")
FOUND = Document(doi=DOI, title="A title", year=2012, source="crossref")
HALF_FOUND = Document(doi=DOI, year=2012).supplemented([FOUND])
ALL_FOUND = BARE.supplemented([FOUND])
BATCH = Batch(
    job="mine", number=0, sequence=100, accepted_at=datetime(2026, 1, 2, tzinfo=UTC), documents=()
)


def known(document: Document, sequence: int) -> Record:
    return Record.of(document, sequence)


def stored(found: Record) -> Stored:
    return read_back(payload(found, job="other", text_from="title"))


@pytest.mark.parametrize(
    ("document", "there", "tombstone", "expected"),
    [
        (BARE, None, 0, None),
        (BARE, known(BARE, 50), 0, State.UNCHANGED),
        (BARE, known(RICH, 50), 0, State.UNCHANGED),
        (RICH, known(BARE, 50), 0, None),
        (RICH, known(BARE, 150), 0, None),
        (RICH, known(NEWER, 50), 0, None),
        (RICH, known(MORE, 150), 0, None),
        (RICH, known(NEWER, 150), 0, State.SUPERSEDED),
        (RICH, known(RICH, 50), 0, State.UNCHANGED),
        (RICH, known(FOUND, 50), 0, None),
        (FOUND, known(RICH, 50), 0, State.SUPERSEDED),
        (RICH, known(RICH, 100), 0, State.STORED),
        (RICH, known(RICH, 100).merged(known(MORE, 150)), 0, State.STORED),
        (BARE, None, 99, None),
        (BARE, None, 101, State.SUPERSEDED),
        (RICH, known(MORE, 150).since(120), 0, State.SUPERSEDED),
        (BARE, known(BARE, 50), 60, None),
        (BARE, known(BARE, 70), 60, State.UNCHANGED),
        (FOUND, known(BARE, 50), 0, None),
        (FOUND, None, 0, State.SUPERSEDED),
        (FOUND, known(BARE, 50), 60, State.SUPERSEDED),
        (HALF_FOUND, None, 0, None),
        (HALF_FOUND, known(HALF_FOUND, 50), 0, State.UNCHANGED),
        (HALF_FOUND, known(RICH, 50), 0, None),
        (ALL_FOUND, known(NEWER, 50), 0, State.UNCHANGED),
    ],
)
def test_what_can_be_told_at_sight(
    document: Document, there: Record | None, tombstone: int, expected: State | None
) -> None:
    seen = stored(there) if there else None
    assert standing(document, BATCH, stored=seen, tombstone=tombstone) is expected


@pytest.mark.parametrize(
    ("document", "there", "tombstone", "expected"),
    [
        (BARE, None, 0, known(BARE, 100)),
        (RICH, known(BARE, 50), 0, known(RICH, 100)),
        (RICH, known(BARE, 150), 0, known(RICH, 100).merged(known(BARE, 150))),
        (MORE, known(RICH, 50), 0, known(RICH, 50).merged(known(MORE, 100))),
        (NEWER, known(RICH, 50), 0, known(NEWER, 100)),
        (NEWER, known(RICH, 150), 0, State.SUPERSEDED),
        (RICH, known(RICH.model_copy(update=MORE.metadata), 50), 0, State.UNCHANGED),
        (RICH, known(FOUND, 50), 0, known(RICH, 100)),
        (FOUND, known(NEWER, 50), 0, State.SUPERSEDED),
        (MORE, known(RICH, 50), 60, known(MORE, 100).since(60)),
        (RICH, known(MORE, 150).since(120), 120, State.SUPERSEDED),
        (RICH, None, 120, State.SUPERSEDED),
        (FOUND, known(BARE, 50), 0, known(BARE, 50).merged(known(FOUND, 100))),
        (FOUND, None, 0, State.SUPERSEDED),
        (FOUND, known(BARE, 50), 60, State.SUPERSEDED),
        (HALF_FOUND, None, 0, known(HALF_FOUND, 100)),
        (HALF_FOUND, known(RICH, 50), 0, State.UNCHANGED),
        (HALF_FOUND, known(NEWER, 50), 0, State.UNCHANGED),
    ],
)
def test_what_is_written_is_merged_with_what_is_there(
    document: Document, there: Record | None, tombstone: int, expected: Record | State | None
) -> None:
    placed = place(document, BATCH, there=there, tombstone=tombstone, contested=False)
    assert placed == expected


def test_only_a_contested_record_that_says_nothing_new_leaves_its_sequence() -> None:
    there = known(RICH, 50)
    assert place(RICH, BATCH, there=there, tombstone=0, contested=False) is State.UNCHANGED
    assert place(RICH, BATCH, there=there, tombstone=0, contested=True) == known(RICH, 100)
    newer = known(RICH, 150)
    assert place(RICH, BATCH, there=newer, tombstone=0, contested=True) is State.UNCHANGED


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        (None, known(BARE, 50), False),
        (known(RICH, 50), known(RICH, 50), True),
        (known(RICH, 60), known(RICH, 50), True),
        (known(RICH, 40), known(RICH, 50), False),
        (known(RICH, 60), known(BARE, 50), True),
        (known(BARE, 60), known(RICH, 50), False),
        (known(RICH, 60), known(MORE, 50), False),
        (known(RICH, 60).since(55), known(MORE, 50), True),
        (known(RICH, 60), known(FOUND, 60), True),
        (known(FOUND, 60), known(RICH, 50), False),
    ],
)
def test_a_point_covers_what_merging_would_not_change(
    there: Record | None, wanted: Record, *, expected: bool
) -> None:
    assert covers(stored(there) if there else None, stored(wanted)) is expected


def test_the_payload_has_what_was_given_by_whom_and_what_orders_it() -> None:
    found = known(RICH, 100).merged(known(MORE.model_copy(update={"source": "crossref"}), 120))
    said = payload(found, job="mine", text_from="title")
    assert said == {
        "doi": DOI,
        "registrant": "10.1038",
        "title": "A title",
        "abstract": "What it is about.",
        "year": 2012,
        "text_from": "title",
        "fields": {
            "title": {"sequence": 100, "source": "given"},
            "year": {"sequence": 100, "source": "given"},
            "abstract": {"sequence": 120, "source": "crossref"},
        },
        "content_hash": RICH.model_copy(update=MORE.metadata).content_hash,
        "revision": found.revision,
        "sequence": 120,
        "job": "mine",
        "accepted_at": "1970-01-01T00:00:00.000120+00:00",
        "schema_version": 2,
    }
    assert record(said) == found
