"""One worker's objects without Celery: the test says what is run, and when."""

from worker.ingest.batch import Ingestor
from worker.ingest.rows import Reader
from worker.ingest.sweep import Sweeper
from worker.ingest.turns import Turns
from worker.ingest.writer import Writer
from worker.ledger.leases import Leases
from worker.ledger.ledger import Claim, Ledger
from worker.model.loaded import Models
from worker.patience import Patience
from worker.store.protocol import VectorStore
from worker.telemetry import Desk, Trace, Work


def ingestor(
    ledger: Ledger, store: VectorStore, *, alias: str, models: Models, leases: Leases
) -> Ingestor:
    """What works batches off."""
    patience = Patience()
    return Ingestor(
        ledger=ledger,
        reader=Reader(ledger, store, alias=alias, patience=patience),
        models=models,
        writer=Writer(store, turns=Turns(share=0.2), patience=patience),
        leases=leases,
        patience=patience,
        desk=Desk(),
    )


def sweeper(ledger: Ledger, store: VectorStore, *, alias: str) -> Sweeper:
    """What sweeps when it is told to, and sends nothing."""
    return Sweeper(
        ledger,
        store,
        alias=alias,
        queue="ingest",
        send=lambda *_: None,
        restore=lambda: None,
        pause_s=60.0,
    )


def work_of(claim: Claim) -> Work:
    """A claimed batch as a worker has it in hand."""
    batch = claim.batch
    return Work(batch.job, batch.number, records=len(batch.documents), trace=Trace())
