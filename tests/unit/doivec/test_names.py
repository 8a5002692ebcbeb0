"""The names that other programs import, and how they come."""

import subprocess
import sys

import doivec

NAMES = {
    *("enqueue", "search", "normalize", "point_id", "Hit", "Settings"),
    *("WorkerError", "ConfigurationError", "InvalidDoi", "JobCancelled", "LedgerUnavailable"),
    *("ModelError", "SourceError", "StoreBusy", "StoreUnavailable", "Unanswerable"),
    *("QdrantSettings", "RedisSettings"),
    *(
        "EmbeddingError",
        "JobConflict",
        "LedgerDamaged",
        "LedgerRejected",
        "OutOfMemory",
        "StoreRejected",
    ),
}
HEAVY = {"torch", "numpy", "celery", "redis", "qdrant_client", "qdrant_edge"}


def test_the_public_names_are_these() -> None:
    assert set(doivec.__all__) == NAMES
    assert all(hasattr(doivec, name) for name in NAMES)


def test_an_import_is_light() -> None:
    code = "import sys, doivec; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_each_error_says_what_it_is() -> None:
    errors = [getattr(doivec, name) for name in NAMES]
    for error in (e for e in errors if isinstance(e, type) and issubclass(e, Exception)):
        assert error.__doc__
        assert issubclass(error, doivec.WorkerError | ValueError)
