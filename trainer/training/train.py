"""One fine-tuning run through the sentence-transformers Trainer; it goes on where it was killed."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import datasets
import torch
import transformers
from safetensors import SafetensorError
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    CoSENTLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
)
from torch import Tensor, nn
from transformers import TrainerCallback

from schemas.training import LossPoint
from trainer.errors import RecipeError, TrainingError, TrainingInterrupted
from trainer.training import checkpoints, weights
from trainer.training.examples import Columns
from trainer.training.finished import FINISHED, MODEL, Finished, finished
from trainer.training.graphed import GraphedEncoder
from trainer.training.packed import PackedEncoder, covers
from trainer.training.recipe import Recipe
from trainer.training.tables import make_tables, tokens_of
from worker.errors import ConfigurationError
from worker.files import write_text
from worker.model.devices import pick_device, use_threads

Progress = Callable[[int, int, float | None], None]
Stop = Callable[[], bool]


def fine_tune(  # noqa: PLR0913 - each is a decision of the caller's
    recipe: Recipe,
    tables: Mapping[str, Columns],
    *,
    parent: Path,
    parent_name: str,
    folder: Path,
    device: str = "auto",
    threads: int | None = None,
    on_step: Progress | None = None,
    should_stop: Stop | None = None,
) -> Finished:
    """Train the model in `parent` by `recipe` on named tables of columns, inside `folder`.

    A run that was cut off goes on from its last whole checkpoint, with the same weights (a loss
    is logged as the mean since the last entry or the resumption); one that ended is returned as
    it is. `on_step` hears (step, steps, loss where one was logged). Raises `RecipeError` for what
    the device can't do, `TrainingError`, and `TrainingInterrupted` where `should_stop` said so,
    after a checkpoint.
    """
    if (done := finished(folder)) is not None:
        return done
    place = pick_device(device)
    if place.index:
        raise ConfigurationError(
            f"training runs on the first device it sees, not on {place}; set CUDA_VISIBLE_DEVICES"
        )
    _refuse_halves(recipe, place)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.check_space(folder, parent)
    if place.type == "cpu" and threads:
        use_threads(threads)
    _quiet()
    model = _open(parent, recipe, device=place)
    model.model_card_data.base_model = parent_name
    trainer = _trainer(recipe, model, make_tables(recipe, tables, model=model), folder=folder)
    run = _Run(on_step, should_stop, started=time.monotonic())
    trainer.add_callback(run)
    resumed, run.before_s = checkpoints.last(folder) or (None, 0.0)
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except UnpicklingError as error:
        raise TrainingError(f"the checkpoint {resumed} holds more than numbers") from error
    if run.stopped:
        raise TrainingInterrupted(
            f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "the same command goes on from there"
        )
    with _keeping(folder):
        with trainer.whole():
            weights.average(model, _open(parent, recipe, device=place), share=recipe.trained_share)
        _finish(trainer, folder, train_s=run.elapsed_s, device=_named(place))
    made = finished(folder)
    if made is None:
        raise TrainingError(f"what was trained is not in {folder} any more")
    return made


class PackedTrainer(SentenceTransformerTrainer):
    """The stock Trainer; where a pass of our own covers the model, it computes the vectors."""

    encode: PackedEncoder | GraphedEncoder | None = None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch; with an encoder of our own, of all its columns in one pass."""
        if self.encode is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs.pop("dataset_name", None)
        features, labels = self.collect_features(inputs)
        stock: Any = self.loss
        loss: Tensor = stock.compute_loss_from_embeddings(self.encode(features), labels)
        return (loss, {}) if return_outputs else loss

    def whole(self) -> AbstractContextManager[None]:
        """The model as the stock Trainer has it, for the time that it is saved or loaded."""
        return self.encode.whole() if self.encode else nullcontext()

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with _keeping(Path(self.args.output_dir or ".")):
            super()._save_checkpoint(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with self.whole():
            super()._save(output_dir, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with self.whole():
            super()._load_from_checkpoint(resume_from_checkpoint)


class _Run(TrainerCallback):
    """Tells how far a run is, stops it on demand, and seals its checkpoints."""

    def __init__(self, on_step: Progress | None, should_stop: Stop | None, started: float) -> None:
        self._on_step = on_step
        self._should_stop = should_stop
        self._started = started
        self.before_s = 0.0
        self.stopped = False

    @property
    def elapsed_s(self) -> float:
        return self.before_s + time.monotonic() - self._started

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._on_step:
            self._on_step(state.global_step, state.max_steps, None)
        if self._should_stop and self._should_stop() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs")
        if self._on_step and logs and "loss" in logs:
            self._on_step(state.global_step, state.max_steps, float(logs["loss"]))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with _keeping(path.parent):
            checkpoints.seal(path, train_s=self.elapsed_s)


@contextmanager
def _keeping(folder: Path) -> Iterator[None]:
    """Write something into a run's folder; where that fails, nothing half written stays."""
    try:
        yield
    except (torch.AcceleratorError, torch.OutOfMemoryError):
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        checkpoints.discard_unsealed(folder)
        raise TrainingError(
            f"what is trained can't be kept in {folder}: {str(error).splitlines()[0]}; given "
            "space, the same command goes on from the last whole checkpoint"
        ) from error


def arguments_of(recipe: Recipe, folder: Path, *, cpu: bool) -> Any:
    """The recipe's arguments as the Trainer takes them, writing checkpoints into `folder`."""
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        **recipe.arguments.model_dump(),
        use_cpu=cpu,
        dataloader_pin_memory=not cpu,
        disable_tqdm=True,
        report_to="none",
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # on several, the Trainer multiplies the batch
    return arguments


def loss_of(recipe: Recipe, model: SentenceTransformer) -> nn.Module:
    """The recipe's loss."""
    if recipe.loss == "cosine":
        return CosineSimilarityLoss(model)
    if recipe.loss == "cosent":
        return CoSENTLoss(model, scale=recipe.scale)
    if recipe.loss == "multiple_negatives_ranking":
        return MultipleNegativesRankingLoss(model, scale=recipe.scale)
    return CachedMultipleNegativesRankingLoss(
        model, scale=recipe.scale, mini_batch_size=recipe.mini_batch_size
    )


def _trainer(
    recipe: Recipe, model: SentenceTransformer, tables: Any, *, folder: Path
) -> PackedTrainer:
    cpu, loss = model.device.type == "cpu", loss_of(recipe, model)
    arguments = arguments_of(recipe, folder, cpu=cpu)
    trainer = PackedTrainer(model=model, args=arguments, train_dataset=tables, loss=loss)
    trainer.remove_callback(transformers.PrinterCallback)
    if not covers(list(model)) or not hasattr(loss, "compute_loss_from_embeddings"):
        return trainer
    if cpu:
        used = () if recipe.arguments.weight_decay else tokens_of(model, tables)
        trainer.encode = PackedEncoder(model[0].model, used)
    elif model.device.type == "cuda" and _can_be_recorded(recipe):
        trainer.encode = GraphedEncoder(model[0].model)
    return trainer


def _can_be_recorded(recipe: Recipe) -> bool:
    own = recipe.arguments
    return own.gradient_accumulation_steps == 1 and not own.fp16 and not own.bf16


def _refuse_halves(recipe: Recipe, place: torch.device) -> None:
    # On a CPU the packed pass computes in float32, whatever the Trainer is told.
    asked = [name for name in ("fp16", "bf16") if getattr(recipe.arguments, name)]
    if asked and place.type == "cpu":
        raise RecipeError(f"recipe {recipe.name}: {asked[0]} needs CUDA; a CPU trains in float32")


def _open(parent: Path, recipe: Recipe, *, device: torch.device) -> SentenceTransformer:
    model = SentenceTransformer(
        str(parent),
        device=str(device),
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"use_safetensors": True, "dtype": torch.float32},
    )
    if recipe.max_seq_length:
        model.max_seq_length = recipe.max_seq_length
    return model


def _finish(trainer: PackedTrainer, folder: Path, *, train_s: float, device: str) -> None:
    made = folder / f".new-{MODEL}"
    shutil.rmtree(made, ignore_errors=True)
    with trainer.whole():
        trainer.model.save_pretrained(str(made))
    shutil.rmtree(folder / MODEL, ignore_errors=True)
    made.replace(folder / MODEL)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    points = [LossPoint(step=e["step"], epoch=e["epoch"], loss=float(e["loss"])) for e in log]
    facts = {
        "log": [point.model_dump() for point in points],
        "steps": int(trainer.state.global_step),
        "train_s": round(train_s, 3),
        "device": device,
    }
    write_text(folder / FINISHED, json.dumps(facts))


def _named(place: torch.device) -> str:
    if place.type == "cuda":
        return f"cuda, {torch.cuda.get_device_name(place)}"
    return f"{place.type}, {torch.get_num_threads()} threads"


def _quiet() -> None:
    """No progress bars of the libraries from now on: the command shows its own."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    datasets.disable_progress_bars()
