"""What is told of a batch that has settled."""

import logging
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from schemas.document import Document
from schemas.job import Batch, State
from tests.support.workers import work_of
from worker.ingest import ends
from worker.ingest.settlement import Outcome
from worker.ledger.ledger import Claim
from worker.ledger.state import Route

DOCUMENTS = tuple(Document(doi=f"10.1000/{n}") for n in range(1100))


def claimed(*, copies: tuple[str, str] | None = None) -> Claim:
    batch = Batch(
        job="3f2a", number=7, sequence=1, accepted_at=datetime.now(UTC), documents=DOCUMENTS
    )
    return Claim(batch, "token", 1, {}, "0", Route(), copies)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def outcome_of(claim: Claim) -> Outcome:
    outcome = Outcome(work_of(claim))
    for name in ("read", "embed"):
        with outcome.work.step(name):
            pass
    outcome.end(DOCUMENTS, State.STORED)
    reason = "missing_metadata: it has no title; ..."
    outcome.bury(DOCUMENTS[0], claim.batch, stage="render", reason=reason)
    died = "the worker died 2 times while on this record"
    outcome.bury(DOCUMENTS[1], claim.batch, stage="process", reason=died)
    return outcome


def test_a_batch_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    claim = claimed()
    with caplog.at_level(logging.INFO):
        ends.tell(claim, outcome_of(claim))
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith("batch 3f2a:7: 1,100 records, dead 2, stored 1,098; ")
    assert "(read 0.00, embed 0.00), " in line
    assert line.endswith(" records/s")
    told = record.told  # type: ignore[attr-defined]
    assert (told["job"], told["batch"], told["stored"], told["dead"]) == ("3f2a", 7, 1098, 2)
    assert told["seconds"].keys() == {"read", "embed", "all"}


def test_records_are_counted_by_their_end_and_dead_letters_by_reason() -> None:
    names = ("doivec_records_total", "doivec_dead_letters_total")
    stored, letters = (
        {"state": "stored", "work": "ingest"},
        {
            "stage": "render",
            "reason": "missing_metadata",
        },
    )
    before = counted(names[0], **stored), counted(names[1], **letters)
    claim = claimed()
    ends.tell(claim, outcome_of(claim))
    assert counted(names[0], **stored) == before[0] + 1098
    assert counted(names[1], **letters) == before[1] + 1
    assert counted(names[1], stage="process", reason="worker died") >= 1


def test_copies_are_no_ingest_and_leave_no_dead_letters() -> None:
    labels = {"stage": "render", "reason": "missing_metadata"}
    before = counted("doivec_dead_letters_total", **labels)
    claim = claimed(copies=("a", "b"))
    ends.tell(claim, outcome_of(claim))
    assert counted("doivec_dead_letters_total", **labels) == before
    assert counted("doivec_records_total", state="stored", work="backfill") >= 1098


def test_reasons_are_few_whatever_is_in_the_records() -> None:
    claim = claimed()
    for number in range(100):
        outcome = Outcome(work_of(claim))
        outcome.bury(DOCUMENTS[0], claim.batch, stage="embed", reason=f"Error{number}: x")
        ends.tell(claim, outcome)
    samples = [s for m in REGISTRY.collect() if m.name == "doivec_dead_letters" for s in m.samples]
    assert len({s.labels["reason"] for s in samples}) <= ends.REASONS + 1
    assert counted("doivec_dead_letters_total", stage="embed", reason="other") > 0
