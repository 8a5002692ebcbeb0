"""The embedder on CUDA. Run with `pytest -m gpu` on a machine that has it."""

import json
import lzma
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.support.paths import DATA as SHARED
from tests.support.tiny_model import make_tiny_model
from worker.errors import OutOfMemory
from worker.model.devices import gpu_memory, vendor_errors
from worker.model.embedder import Embedder
from worker.model.origin import resolve_source
from worker.model.registry import Registry

PARITY = 0.9995

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def lowest_cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float((one * other).sum(axis=1).min())


@pytest.mark.parametrize("dtype", ["auto", "float16", "bfloat16", "float32"])
def test_a_tiny_model_gives_the_vectors_of_the_cpu(tmp_path: Path, dtype: str) -> None:
    path = make_tiny_model(tmp_path / "model")
    texts = [f"10.1038/nphys{number}" + "/x" * (number % 40) for number in range(5000)]
    on_cuda = Embedder.load(path, device="cuda", dtype=dtype).encode(texts)
    on_cpu = Embedder.load(path, device="cpu", dtype="float32").encode(texts)
    assert lowest_cosine(on_cuda, on_cpu) > PARITY


def test_the_memory_of_the_gpu_is_told(tmp_path: Path) -> None:
    Embedder.load(make_tiny_model(tmp_path / "model"), device="cuda").encode(["10.1038/nphys1170"])
    bytes_of = {kind: size for _, kind, size in gpu_memory()}
    assert bytes_of.keys() == {"total", "free", "held"}
    assert 0 < bytes_of["held"] <= bytes_of["total"] - bytes_of["free"]


def test_the_base_model_passes_its_canaries(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.register(resolve_source("base"), name="base", templates=["{doi}"])
    Embedder.load(registry.get(version.version)[0], device="cuda").check_canaries(version)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_parity_on_real_lists_and_long_texts() -> None:
    with (SHARED / "dois_100k.txt").open() as lines:
        texts = [line.strip() for line in islice(lines, 20_000)]
    with lzma.open(SHARED / "metadata.jsonl.xz", "rt") as rows:
        texts += [r["abstract"] for r in map(json.loads, rows) if r.get("abstract")][:500]
    on_cuda = Embedder.load("base", device="cuda").encode(texts)
    on_cpu = Embedder.load("base", device="cpu", dtype="float32").encode(texts)
    assert lowest_cosine(on_cuda, on_cpu) > PARITY


def test_missing_memory_is_told_apart() -> None:
    with pytest.raises(OutOfMemory), vendor_errors():
        torch.empty(2**50, dtype=torch.uint8, device="cuda")
