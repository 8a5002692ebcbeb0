"""What other programs send, taken into the ledger record by record."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.ingest.producer import Producer
from worker.ledger.ledger import Ledger
from worker.patience import Patience
from worker.settings import IngestSettings, LimitSettings

GOOD = "10.1038/nphys1170"


class Broken(Mapping[str, Any]):
    """A record that does what no parser reckons with."""

    def __getitem__(self, name: str) -> Any:
        raise OSError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(["doi"])

    def __len__(self) -> int:
        return 1


def test_a_list_is_taken_in_whatever_one_of_its_records_does(ledger: Ledger) -> None:
    producer = Producer(
        ledger,
        lambda _job, _number: None,
        options=IngestSettings(),
        limits=LimitSettings(),
        patience=Patience(),
    )
    given: list[Any] = [f"{GOOD} <br> see also", Broken(), 10**5000, [GOOD], {"doi": "10.1000/b"}]
    job = producer.enqueue(given)
    found = ledger.job(job)
    assert (found.read, found.accepted, found.invalid) == (5, 2, 3)
    assert [(r.line, r.reason) for r in ledger.rejections(job)] == [
        (2, "internal error"),
        (3, "neither a DOI nor an object with a `doi`"),
        (4, "neither a DOI nor an object with a `doi`"),
    ]
