"""Training for real, on a tiny model: twice the same, killed and resumed the same."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from tests.support.paths import DOIS, ROOT
from tests.support.tiny_model import make_tiny_model
from trainer.errors import RecipeError, TrainingError, TrainingInterrupted
from trainer.training import checkpoints, recipe
from trainer.training.examples import Columns
from trainer.training.finished import Finished
from trainer.training.graphed import GraphedEncoder
from trainer.training.packed import PackedEncoder, covers, drop
from trainer.training.train import fine_tune


def tail(doi: str) -> str:
    return doi.partition("/")[2]


ROWS = list(zip(DOIS[:160], DOIS[160:320], strict=True))
LABELLED = {
    "pairs": {
        "sentence_0": [a for a, _ in ROWS],
        "sentence_1": [b for _, b in ROWS],
        "label": [float(number % 3 > 0) for number in range(len(ROWS))],
    }
}
# A DOI belongs with its own suffix, and not with another DOI: that can be learnt in a few steps.
LEARNABLE = {
    "pairs": {
        "sentence_0": [a for a, _ in ROWS],
        "sentence_1": [b if number % 2 else tail(a) for number, (a, b) in enumerate(ROWS)],
        "label": [float(number % 2 == 0) for number in range(len(ROWS))],
    }
}
RANKED = {"pairs": {"anchor": [a for a, _ in ROWS], "positive": [tail(a) for a, _ in ROWS]}}
TRIPLETS = {"triplets": RANKED["pairs"] | {"negative": DOIS[320:480]}, "pairs": RANKED["pairs"]}
THREADS = 2  # the same in every process, whatever another test has set
SMALL = (
    "per_device_train_batch_size=8",
    "learning_rate=1e-3",
    "logging_steps=2",
    "save_steps=3",
    "max_steps=10",
)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("parent") / "tiny")


def run(parent: Path, folder: Path, *overrides: str, stop_at: int = 0) -> Finished:
    steps: list[int] = []
    return fine_tune(
        recipe.load("seed", overrides=[*SMALL, *overrides]),
        LABELLED,
        parent=parent,
        parent_name="tiny",
        folder=folder,
        device="cpu",
        threads=THREADS,
        on_step=lambda step, _, __: steps.append(step),
        should_stop=lambda: bool(stop_at) and steps[-1] >= stop_at,
    )


def weights(done: Finished) -> str:
    return sha256((done.path / "model.safetensors").read_bytes()).hexdigest()


def test_the_same_run_twice_gives_the_same_weights(parent: Path, tmp_path: Path) -> None:
    first, second = run(parent, tmp_path / "a"), run(parent, tmp_path / "b")
    assert weights(first) == weights(second)
    assert first.log == second.log
    assert (first.steps, [point.step for point in first.log]) == (10, [2, 4, 6, 8, 10])
    assert weights(first) != sha256((parent / "model.safetensors").read_bytes()).hexdigest()
    assert weights(run(parent, tmp_path / "c", "seed=7")) != weights(first)


def test_a_run_that_ended_is_returned_as_it_is(parent: Path, tmp_path: Path) -> None:
    first = run(parent, tmp_path)
    assert run(parent, tmp_path) == first
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_stopped_run_goes_on_with_the_same_result(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted, match="after step 4 of 10"):
        run(parent, tmp_path / "stopped", stop_at=4)
    resumed, whole = run(parent, tmp_path / "stopped"), run(parent, tmp_path / "whole")
    assert weights(resumed) == weights(whole)
    assert resumed.log == whole.log


def test_a_killed_run_goes_on_with_the_same_result(parent: Path, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tests.unit.trainer.training.test_train import run, die_at;"
        "die_at(7, *map(pathlib.Path, sys.argv[1:]))"
    )
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", program, str(parent), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert sorted(p.name for p in folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    # Cut off while the last checkpoint was written: it has no seal, and the one before counts.
    (folder / "checkpoint-6" / checkpoints.SEAL).unlink()
    (folder / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    assert weights(run(parent, folder)) == weights(run(parent, tmp_path / "whole"))


def die_at(step: int, parent: Path, folder: Path) -> None:
    """Run in a process of its own: SIGKILL in the middle of training."""
    import os  # noqa: PLC0415
    import signal  # noqa: PLC0415

    fine_tune(
        recipe.load("seed", overrides=SMALL),
        LABELLED,
        parent=parent,
        parent_name="tiny",
        folder=folder,
        device="cpu",
        threads=THREADS,
        on_step=lambda now, _, __: os.kill(os.getpid(), signal.SIGKILL) if now == step else None,
    )


class Trap:
    """What a pickle would do to whoever loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, (str(self.path), "w"))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_checkpoint_with_a_pickle_in_it_is_never_unpickled(
    parent: Path, tmp_path: Path, name: str, *, sealed: bool
) -> None:
    folder, sprung = tmp_path / "run", tmp_path / "sprung"
    with pytest.raises(TrainingInterrupted):
        run(parent, folder, stop_at=5)
    checkpoint = folder / "checkpoint-5"
    assert (checkpoint / name).exists()
    (checkpoint / name).write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    if sealed:  # by someone who knows how; then torch's own refusal is what holds
        checkpoints.seal(checkpoint, train_s=0.0)
    with pytest.raises(TrainingError, match="more than numbers" if sealed else "was changed"):
        run(parent, folder)
    assert not sprung.exists()


@pytest.mark.parametrize("tables", [{}, {"pairs": {"sentence_0": [], "sentence_1": []}}])
def test_nothing_to_train_on_is_an_error(
    parent: Path, tmp_path: Path, tables: dict[str, dict[str, list[str]]]
) -> None:
    with pytest.raises(TrainingError, match="no pair is left"):
        fine_tune(
            recipe.load("seed"),
            tables,
            parent=parent,
            parent_name="tiny",
            folder=tmp_path,
            device="cpu",
        )


def test_a_disk_that_is_too_full_is_told_before_the_training(tmp_path: Path) -> None:
    huge = tmp_path / "parent" / "model.safetensors"
    huge.parent.mkdir()
    with huge.open("wb") as file:  # takes no room
        file.truncate(shutil.disk_usage(tmp_path).free // 2)
    with pytest.raises(TrainingError, match="MiB free, a run needs at least"):
        run(huge.parent, tmp_path / "run")


def test_half_precision_on_a_cpu_is_refused(parent: Path, tmp_path: Path) -> None:
    for name in ("fp16", "bf16"):
        with pytest.raises(RecipeError, match=f"{name} needs CUDA"):
            fine_tune(
                recipe.load("seed", overrides=[f"{name}=true"]),
                LABELLED,
                parent=parent,
                parent_name="tiny",
                folder=tmp_path,
                device="cpu",
            )


def test_a_version_may_be_the_average_of_the_trained_and_the_parents_weights(
    parent: Path, tmp_path: Path
) -> None:
    def trained(share: float) -> dict[str, torch.Tensor]:
        done = fine_tune(
            recipe.load("seed", overrides=[*SMALL, f"trained_share={share}"]),
            LEARNABLE,
            parent=parent,
            parent_name="tiny",
            folder=tmp_path / str(share),
            device="cpu",
            threads=THREADS,
        )
        return load_file(done.path / "model.safetensors")

    before, whole, half = load_file(parent / "model.safetensors"), trained(1.0), trained(0.5)
    changed = [name for name in whole if not torch.equal(whole[name], before[name])]
    assert len(changed) > len(whole) // 2
    for name in whole:
        torch.testing.assert_close(half[name], (whole[name] + before[name]) / 2)


# What is learnt from `LEARNABLE` makes it worse after some steps; and better.
OTHERS = list(zip(DOIS[480:520], DOIS[520:560], strict=True))
AGAINST, ALONG = (
    {
        "pairs": {
            "sentence_0": [a for a, _ in OTHERS],
            "sentence_1": [b if number % 2 else tail(a) for number, (a, b) in enumerate(OTHERS)],
            "label": [float(number % 2 == along) for number in range(len(OTHERS))],
        }
    }
    for along in (1, 0)
)


def stopping(
    parent: Path,
    folder: Path,
    *overrides: str,
    development: Mapping[str, Columns],
    tables: Mapping[str, Columns] = LEARNABLE,
    stop_at: int = 0,
) -> Finished:
    steps: list[int] = []
    constant = ("lr_scheduler_type=constant", "patience=2", "max_steps=20")
    return fine_tune(
        recipe.load("seed", overrides=[*SMALL, *constant, *overrides]),
        tables,
        parent=parent,
        parent_name="tiny",
        folder=folder,
        device="cpu",
        threads=THREADS,
        on_step=lambda step, _, __: steps.append(step),
        should_stop=lambda: bool(stop_at) and steps[-1] >= stop_at,
        development=development,
    )


@pytest.fixture(scope="module")
def early(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return stopping(parent, tmp_path_factory.mktemp("early"), development=AGAINST)


def test_training_stops_and_keeps_the_weights_of_the_best_evaluation(
    parent: Path, tmp_path: Path, early: Finished
) -> None:
    assert [point.step for point in early.development] == list(range(3, early.steps + 1, 3))
    best = min(early.development, key=lambda point: point.loss)
    assert early.kept_step == best.step == early.steps - 6 < 14
    short = stopping(parent, tmp_path, f"max_steps={best.step}", development=AGAINST)
    assert short.kept_step == short.steps == best.step
    assert weights(early) == weights(short)
    assert stopping(parent, early.path.parent, development=AGAINST) == early


def test_what_is_best_at_last_is_kept_though_no_checkpoint_is_due(
    parent: Path, tmp_path: Path
) -> None:
    done = stopping(parent, tmp_path, "max_steps=8", development=ALONG)
    assert [point.step for point in done.development] == [3, 6, 8]
    assert done.kept_step == done.steps == 8


# In between; and at the very step that settles it: what is resumed there learns no more.
@pytest.mark.parametrize("before_end", [2, 0])
def test_a_stopped_run_ends_where_a_whole_one_does(
    parent: Path, tmp_path: Path, early: Finished, before_end: int
) -> None:
    with pytest.raises(TrainingInterrupted):
        stopping(parent, tmp_path, development=AGAINST, stop_at=early.steps - before_end)
    resumed = stopping(parent, tmp_path, development=AGAINST)
    assert weights(resumed) == weights(early)
    assert (resumed.kept_step, resumed.development) == (early.kept_step, early.development)


def test_a_best_checkpoint_that_was_changed_is_refused(
    parent: Path, tmp_path: Path, early: Finished
) -> None:
    with pytest.raises(TrainingInterrupted):
        stopping(parent, tmp_path, development=AGAINST, stop_at=early.steps - 2)
    best = f"checkpoint-{early.kept_step}"
    (tmp_path / best / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match=f"{best} was changed"):
        stopping(parent, tmp_path, development=AGAINST)


def test_losses_that_rank_are_evaluated_too(parent: Path, tmp_path: Path) -> None:
    ranks = ("loss=multiple_negatives_ranking", "multi_dataset_batch_sampler=proportional")
    short = ("max_steps=5", "save_steps=4")
    done = stopping(parent, tmp_path, *ranks, *short, tables=TRIPLETS, development=TRIPLETS)
    assert [point.step for point in done.development] == [4, 5]
    assert done.kept_step in {4, 5}


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=cosent"],
        ["loss=multiple_negatives_ranking", "batch_sampler=no_duplicates"],
        ["loss=cached_multiple_negatives_ranking", "mini_batch_size=4"],
        [
            "loss=multiple_negatives_ranking",
            "negatives=['mined']",
            "multi_dataset_batch_sampler=proportional",
            "max_seq_length=32",
        ],
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
def test_every_loss_learns(parent: Path, tmp_path: Path, overrides: list[str]) -> None:
    tables = LEARNABLE if "cosent" in overrides[0] else TRIPLETS
    done = fine_tune(
        recipe.load("seed", overrides=[*SMALL, "max_steps=60", *overrides]),
        tables,
        parent=parent,
        parent_name="tiny",
        folder=tmp_path,
        device="cpu",
    )
    losses = [point.loss for point in done.log]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    vectors = SentenceTransformer(str(done.path), device="cpu").encode(DOIS[:3])
    assert vectors.shape == (3, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_packed_pass_gives_the_stock_vectors_and_gradients(parent: Path) -> None:
    model = SentenceTransformer(str(parent), device="cpu")
    model.eval()  # no dropout: both draw it in another order
    columns = [model.preprocess(DOIS[:9]), model.preprocess(DOIS[9:18])]
    assert covers(list(model))
    stock = [model(dict(column))["sentence_embedding"] for column in columns]
    packed = PackedEncoder(model[0].model)(columns)
    for mine, theirs in zip(packed, stock, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)
    for mine, theirs in zip(gradients(model, packed), gradients(model, stock), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_the_pass_for_cuda_gives_the_stock_vectors_and_gradients(parent: Path) -> None:
    # Recorded it is on CUDA only; here the same kernels run one by one.
    model = SentenceTransformer(str(parent), device="cpu")
    model.eval()
    columns = [model.preprocess(DOIS[:9]), model.preprocess(DOIS[9:18])]
    stock = [model(dict(column))["sentence_embedding"] for column in columns]
    encoder = GraphedEncoder(model[0].model)
    model.train()
    encoder(columns)  # what drops out in training doesn't in an evaluation
    model.eval()
    padded = encoder(columns)
    for mine, theirs in zip(padded, stock, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)
    for mine, theirs in zip(gradients(model, padded), gradients(model, stock), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_dropout_keeps_its_rate_and_the_mean() -> None:
    torch.manual_seed(3)
    dropped = drop(torch.ones(1000, 384), 0.1)
    kept = dropped[dropped != 0]
    assert len(kept) / dropped.numel() == pytest.approx(0.9, abs=0.002)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.002)
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / 0.9), atol=1e-4, rtol=0)


def test_words_that_no_text_has_are_left_as_they_were(parent: Path, tmp_path: Path) -> None:
    tokenizer = SentenceTransformer(str(parent), device="cpu").tokenizer
    texts = [text for pair in ROWS for text in pair]
    used = sorted({number for ids in tokenizer(texts)["input_ids"] for number in ids})
    name = "embeddings.word_embeddings.weight"
    before, after = (
        load_file(path / "model.safetensors")[name] for path in (parent, run(parent, tmp_path).path)
    )
    assert before.shape == after.shape
    changed = (before != after).any(1)
    others = sorted(set(range(len(before))) - set(used))
    assert others
    assert not changed[others].any()
    assert int(changed.sum()) > len(used) / 2


def gradients(model: SentenceTransformer, vectors: list[torch.Tensor]) -> list[torch.Tensor]:
    parameters = [p for name, p in model.named_parameters() if "pooler" not in name]
    loss = torch.cosine_similarity(vectors[0], vectors[1]).square().mean()
    return list(torch.autograd.grad(loss, parameters))


def test_the_log_and_the_card_are_kept_with_the_model(parent: Path, tmp_path: Path) -> None:
    done = run(parent, tmp_path)
    facts = json.loads((tmp_path / "finished.json").read_text())
    assert [point["loss"] for point in facts["log"]] == [point.loss for point in done.log]
    card = (done.path / "README.md").read_text()
    assert "CosineSimilarityLoss" in card
    assert str(tmp_path) not in card
