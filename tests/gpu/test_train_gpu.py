"""Training on CUDA: the stock pass, the same record, a model that any machine reads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from tests.support.paths import DOIS
from tests.support.tiny_model import make_tiny_model
from tests.unit.trainer.training.test_train import LEARNABLE, SMALL
from trainer.training import recipe
from trainer.training.train import fine_tune
from worker.model.embedder import Embedder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_a_run_on_cuda_learns_and_its_model_is_read_on_a_cpu(tmp_path: Path) -> None:
    done = fine_tune(
        recipe.load("seed", overrides=[*SMALL, "max_steps=60"]),
        LEARNABLE,
        parent=make_tiny_model(tmp_path / "tiny"),
        parent_name="tiny",
        folder=tmp_path / "run",
        device="cuda",
    )
    assert done.device.startswith("cuda, ")
    losses = [point.loss for point in done.log]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    stock = SentenceTransformer(str(done.path), device="cpu").encode(DOIS[:20])
    ours = Embedder.load(done.path, device="cpu", dtype="float32").encode(DOIS[:20])
    assert np.allclose(stock, ours, atol=1e-5)
