"""Training speed: doivec against the stock sentence-transformers Trainer, same batches, same order.

`python -m benchmarks.training` writes benchmarks/results/training_cpu.json (or training_cuda).
"""

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import datasets
import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from benchmarks.machine import DATA, dois, write_result
from trainer.training import recipe as recipes
from trainer.training.graphed import GraphedEncoder, Pass, pad
from trainer.training.packed import PackedEncoder
from trainer.training.tables import tokens_of
from trainer.training.train import PackedTrainer, arguments_of, loss_of
from worker.model.devices import pick_device
from worker.model.origin import BASE, resolve_source

WARM = 3


class StockDropout(PackedEncoder):
    """The packed pass with torch's own dropout."""

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self._dropout, training=self._bert.training)


class Unrecorded(GraphedEncoder):
    """The pass for CUDA, its kernels started one by one."""

    def __call__(self, columns: Sequence[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
        """Vectors float32 [texts, width] for each column."""
        made = Pass(self._bert).train(self._bert.training)
        return list(made(*pad(columns)).chunk(len(columns)))


class Clock(transformers.TrainerCallback):
    """The seconds that the steps after the first few took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._before = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """A step begins."""
        self._before = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step ends, when the device has done it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._before)


# By name: the optimizer, and what computes the vectors, given the model and its tables.
Encoder = PackedEncoder | GraphedEncoder
STOCK: dict[str, tuple[str, Callable[[Any, Any], Encoder | None]]] = {
    "stock": ("adamw_torch", lambda _, __: None),
    "stock_fused": ("adamw_torch_fused", lambda _, __: None),
}
ON_CPU: dict[str, tuple[str, Callable[[Any, Any], Encoder | None]]] = {
    "one_pass": ("adamw_torch_fused", lambda model, _: StockDropout(model[0].model)),
    "own_dropout": ("adamw_torch_fused", lambda model, _: PackedEncoder(model[0].model)),
    "doivec": (
        "adamw_torch_fused",
        lambda model, table: PackedEncoder(model[0].model, tokens_of(model, table)),
    ),
}
ON_CUDA: dict[str, tuple[str, Callable[[Any, Any], Encoder | None]]] = {
    "one_pass": ("adamw_torch_fused", lambda model, _: Unrecorded(model[0].model)),
    "doivec": ("adamw_torch_fused", lambda model, _: GraphedEncoder(model[0].model)),
}
VARIANTS = STOCK | (ON_CUDA if torch.cuda.is_available() else ON_CPU)


class Trained(NamedTuple):
    """A short run: mean seconds a step after the first few, the losses, the model."""

    step_s: float
    losses: list[float]
    model: SentenceTransformer


def run(
    variant: str, table: datasets.Dataset, *, steps: int, seed: int = 42, dropout: bool = True
) -> Trained:
    """Train the base model by recipe `seed` for so many steps."""
    optim, encoder = VARIANTS[variant]
    options = [f"max_steps={steps}", "logging_steps=1", "save_steps=1000000", f"seed={seed}"]
    recipe = recipes.load("seed", overrides=[*options, f"optim={optim}"])
    device = pick_device("auto")
    model = SentenceTransformer(str(resolve_source(BASE)), device=str(device))
    if not dropout:
        leave_dropout_out(model)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = PackedTrainer(
            model=model,
            args=arguments_of(recipe, Path(folder), cpu=device.type == "cpu"),
            train_dataset=table,
            loss=loss_of(recipe, model),
            callbacks=[clock],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.encode = encoder(model, table)
        trainer.train()
    with trainer.whole():
        weights = {name: value.clone() for name, value in model.state_dict().items()}
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    trained = SentenceTransformer(str(resolve_source(BASE)), device=str(device))
    trained.load_state_dict(weights)
    return Trained(sum(clock.seconds[WARM:]) / (steps - WARM), losses, trained)


def leave_dropout_out(model: SentenceTransformer) -> None:
    """Then both ways compute the same losses."""
    config: Any = model[0].model.config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout_prob", "attention_dropout"):
            if hasattr(module, name):
                setattr(module, name, 0.0)


def read_pairs(count: int) -> list[tuple[str, str, float]]:
    """Labelled pairs of the shared data; without it, DOIs of the examples, labelled in turn."""
    path = DATA / "pairs_seedlike.csv"
    if path.exists():
        with path.open(newline="") as file:
            rows = [(r["doi_a"], r["doi_b"], float(r["label"])) for r in csv.DictReader(file)]
        return rows[:count]
    known = dois(2 * count)
    return [(known[n], known[-n - 1], float(n % 6 > 0)) for n in range(min(count, len(known)))]


def to_table(rows: list[tuple[str, str, float]]) -> datasets.Dataset:
    """The pairs as the Trainer reads them."""
    a, b, labels = (list(column) for column in zip(*rows, strict=True))
    return datasets.Dataset.from_dict({"sentence_0": a, "sentence_1": b, "label": labels})


def quality(model: SentenceTransformer, rows: list[tuple[str, str, float]]) -> dict[str, float]:
    """Mean squared error of the cosines against the labels, and ROC AUC, on other pairs."""
    a, b = (model.encode([r[side] for r in rows], show_progress_bar=False) for side in (0, 1))
    cosines, labels = (a * b).sum(1), np.array([row[2] for row in rows])
    error = float(((cosines - labels) ** 2).mean())
    return {"error": round(error, 4), "roc_auc": round(float(roc_auc_score(labels, cosines)), 4)}


def speed(rows: list[tuple[str, str, float]], *, steps: int, rounds: int) -> dict[str, Any]:
    """All variants, interleaved; seconds a step, and ratios to the stock Trainer by round."""
    table = to_table(rows)
    taken: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, times in taken.items():
            times.append(run(name, table, steps=steps).step_s)
    return {
        "steps_a_second": {name: _figure([1 / s for s in times]) for name, times in taken.items()},
        "times_stock": _ratios(taken, "stock"),
        "times_stock_fused": _ratios(taken, "stock_fused"),
    }


def _ratios(taken: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    return {
        name: _figure([b / own for b, own in zip(taken[base], times, strict=True)])
        for name, times in taken.items()
    }


def _figure(values: list[float]) -> dict[str, float]:
    return {
        "median": round(median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
    }


def sameness(rows: list[tuple[str, str, float]], *, steps: int) -> dict[str, Any]:
    """The losses without dropout, side by side."""
    table = to_table(rows)
    stock, own = (run(v, table, steps=steps, dropout=False).losses for v in ("stock", "doivec"))
    differences = [abs(a - b) for a, b in zip(stock, own, strict=True)]
    return {"steps": steps, "largest_loss_difference": max(differences), "last_loss": stock[-1]}


def spread(rows: list[tuple[str, str, float]], *, steps: int, seeds: int) -> dict[str, Any]:
    """What both make of a short run with several seeds, judged on pairs that none trained on."""
    cut = len(rows) - 4000
    table = to_table(rows[:cut])
    found: dict[str, Any] = {"steps": steps}
    for variant in ("stock", "doivec"):
        models = (run(variant, table, steps=steps, seed=seed).model for seed in range(seeds))
        found[variant] = [quality(model, rows[cut:]) for model in models]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quality-steps", type=int, default=100)
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    pairs = read_pairs(12_000)
    result = {
        "batch": 32,
        "speed": speed(pairs, steps=options.steps, rounds=options.rounds),
        "same_losses_without_dropout": sameness(pairs, steps=20),
        "quality": spread(pairs, steps=options.quality_steps, seeds=options.seeds),
    }
    kind = pick_device("auto").type
    write_result(f"training_{kind}", result)
