"""What other programs import: queue DOIs, ask for similar ones; types and errors of both."""

from doivec.client import enqueue, search
from schemas.doi import InvalidDoi, normalize, point_id
from schemas.search import Hit
from worker.errors import (
    ConfigurationError,
    JobCancelled,
    LedgerUnavailable,
    ModelError,
    SourceError,
    StoreBusy,
    StoreUnavailable,
    Unanswerable,
    WorkerError,
)
from worker.settings import Settings

__all__ = [
    "ConfigurationError",
    "Hit",
    "InvalidDoi",
    "JobCancelled",
    "LedgerUnavailable",
    "ModelError",
    "Settings",
    "SourceError",
    "StoreBusy",
    "StoreUnavailable",
    "Unanswerable",
    "WorkerError",
    "enqueue",
    "normalize",
    "point_id",
    "search",
]
