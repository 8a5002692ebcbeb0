"""What input may be, and how work is cut, leased and kept."""

from pydantic import (
    Field,
)

from worker.settings.slices import Slice


class LimitSettings(Slice):
    """What input may be at the most."""

    doi_bytes: int = Field(default=2048, ge=1, description="a DOI, in bytes")
    record_bytes: int = Field(default=1024 * 1024, ge=1, description="a line or record, in bytes")
    batch_records: int = Field(default=4096, ge=1, description="a batch, in records")


class IngestSettings(Slice):
    """How work is cut, leased and kept."""

    batch_records: int = Field(default=1024, ge=1, description="records a batch")
    outstanding_batches: int = Field(
        default=256, ge=1, description="a producer holds while so many batches are not settled"
    )
    concurrency: int = Field(
        default=3,
        ge=1,
        description="batches that a worker has in hand at once: one embeds, others read and write",
    )
    lease_s: float = Field(
        default=20.0,
        gt=0,
        description="a batch whose worker was silent for so long is queued again, in seconds",
    )
    sweep_s: float = Field(
        default=5.0, gt=0, description="pause between two sweeps for lost batches, in seconds"
    )
    pause_records: int = Field(
        default=2000, ge=1, description="a job may pause once so many of its records have settled"
    )
    pause_share: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="a job pauses when this share of its records ended dead",
    )
    backfill_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of a worker's device that a backfill may take while ingest waits for it",
    )
    retention_s: float = Field(
        default=30 * 86400.0,
        gt=0,
        description="how long settled batches and jobs are kept, in seconds",
    )
