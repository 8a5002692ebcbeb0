"""What programs import before they know what they are asked for."""

import subprocess
import sys

READERS = {"openpyxl", "pyarrow", "bibtexparser", "pylatexenc"}
STORES = {"qdrant_client", "qdrant_edge", "grpc"}
HEAVY = {*READERS, *STORES, "celery", "kombu", "numpy", "httpx2", "tokenizers", "torch"}


def imported(module: str) -> set[str]:
    """All modules that are there once this one is imported."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_command_starts_without_what_another_one_needs() -> None:
    assert not HEAVY & imported("worker.cli.commands")


def test_so_does_the_trainers() -> None:
    # The stores of pairs are Parquet, and the gate's figures numpy's.
    assert not (HEAVY - {"pyarrow", "numpy", "tokenizers"}) & imported("trainer.cli.commands")


def test_a_model_is_loaded_without_torchs_compiler() -> None:
    assert "torch._dynamo" not in imported("worker.model.forward")
