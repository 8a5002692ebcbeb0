from datetime import UTC, datetime

import pytest

from schemas.document import Document
from schemas.job import Batch, State
from worker.ingest.settlement import is_overtaken, payload, standing
from worker.store.protocol import Stored

BARE = Document(doi="10.1038/nature11543")
RICH = Document(doi="10.1038/nature11543", title="A title", year=2012)
NEWER = Document(doi="10.1038/nature11543", title="A better title", year=2012)
BATCH = Batch(
    job="mine", number=0, sequence=100, accepted_at=datetime(2026, 1, 2, tzinfo=UTC), documents=()
)


def stored(document: Document, *, sequence: int, job: str = "other") -> Stored:
    return Stored(document.content_hash, sequence, job, document.is_bare)


@pytest.mark.parametrize(
    ("document", "there", "tombstone", "expected"),
    [
        (BARE, None, 0, None),
        (BARE, stored(BARE, sequence=50), 0, State.UNCHANGED),
        (BARE, stored(RICH, sequence=50), 0, State.UNCHANGED),
        (RICH, stored(BARE, sequence=50), 0, None),
        (RICH, stored(BARE, sequence=150), 0, None),
        (RICH, stored(NEWER, sequence=50), 0, None),
        (RICH, stored(NEWER, sequence=150), 0, State.SUPERSEDED),
        (RICH, stored(RICH, sequence=150), 0, State.UNCHANGED),
        (RICH, stored(RICH, sequence=100, job="mine"), 0, State.STORED),
        (BARE, None, 99, None),
        (BARE, None, 101, State.SUPERSEDED),
        (BARE, stored(BARE, sequence=50), 60, None),
        (BARE, stored(BARE, sequence=70), 60, State.UNCHANGED),
    ],
)
def test_standing(
    document: Document, there: Stored | None, tombstone: int, expected: State | None
) -> None:
    assert standing(document, BATCH, stored=there, tombstone=tombstone) is expected


def test_only_rich_records_found_current_under_an_older_sequence_are_overtaken() -> None:
    assert is_overtaken(RICH, BATCH, stored(RICH, sequence=50), State.UNCHANGED)
    assert not is_overtaken(RICH, BATCH, stored(RICH, sequence=150), State.UNCHANGED)
    assert not is_overtaken(BARE, BATCH, stored(BARE, sequence=50), State.UNCHANGED)


def test_the_payload_has_what_was_given_and_what_orders_it() -> None:
    assert payload(RICH, BATCH) == {
        "doi": "10.1038/nature11543",
        "registrant": "10.1038",
        "title": "A title",
        "year": 2012,
        "content_hash": RICH.content_hash,
        "sequence": 100,
        "job": "mine",
        "accepted_at": "2026-01-02T00:00:00+00:00",
        "schema_version": 1,
    }
