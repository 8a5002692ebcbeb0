"""Lists that other programs send: whatever is in them, they end as a job."""

from schemas.job import JobState
from tests.integration.worker.ingest.test_producer import GOOD, producer_of
from worker.ingest.intake import Intake
from worker.ledger.ledger import Ledger
from worker.patience import Patience

HALF = "\ud83d"  # of a surrogate pair: what is left of a sign that was cut


def test_half_a_sign_in_a_field_costs_the_field_alone(ledger: Ledger) -> None:
    intake = Intake(producer_of(ledger), ledger, patience=Patience())
    intake.take("task", [[{"doi": GOOD, "title": f"On {HALF}", HALF: 1}, HALF]], {})
    job = ledger.job("task")
    assert (job.state, job.accepted, job.invalid) == (JobState.SEALED, 1, 1)
    assert [drop.value for drop in job.reading.first_dropped] == ["On \\ud83d"]


def test_half_a_sign_in_the_call_itself_rejects_the_list(ledger: Ledger) -> None:
    intake = Intake(producer_of(ledger), ledger, patience=Patience())
    intake.take(f"task {HALF}", [], {HALF: [GOOD]})
    job = ledger.job("task \\ud83d")
    assert job.state is JobState.REJECTED
    assert "\\ud83d=" in job.note


def test_a_task_whose_id_is_a_number_is_a_job_of_that_name(ledger: Ledger) -> None:
    Intake(producer_of(ledger), ledger, patience=Patience()).take(5, [[GOOD]], {})  # type: ignore[arg-type] - what any program may send
    assert ledger.job("5").accepted == 1
