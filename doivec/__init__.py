"""What other programs import: queue DOIs, ask for similar ones; types and errors of both."""

from doivec.client import enqueue, search
from schemas.doi import InvalidDoi, normalize, point_id
from schemas.search import Hit
from worker.errors import (
    ConfigurationError,
    EmbeddingError,
    JobCancelled,
    JobConflict,
    LedgerDamaged,
    LedgerRejected,
    LedgerUnavailable,
    ModelError,
    OutOfMemory,
    SourceError,
    StoreBusy,
    StoreRejected,
    StoreUnavailable,
    Unanswerable,
    WorkerError,
)
from worker.settings.environment import Settings
from worker.settings.servers import QdrantSettings, RedisSettings

__all__ = [
    "ConfigurationError",
    "EmbeddingError",
    "Hit",
    "InvalidDoi",
    "JobCancelled",
    "JobConflict",
    "LedgerDamaged",
    "LedgerRejected",
    "LedgerUnavailable",
    "ModelError",
    "OutOfMemory",
    "QdrantSettings",
    "RedisSettings",
    "Settings",
    "SourceError",
    "StoreBusy",
    "StoreRejected",
    "StoreUnavailable",
    "Unanswerable",
    "WorkerError",
    "enqueue",
    "normalize",
    "point_id",
    "search",
]
