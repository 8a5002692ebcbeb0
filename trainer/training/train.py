"""One fine-tuning run through the sentence-transformers Trainer; it goes on where it was killed."""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import datasets
import torch
import transformers
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

from trainer.errors import RecipeError, TrainingError, TrainingInterrupted
from trainer.training import checkpoints, weights
from trainer.training.examples import Columns
from trainer.training.finished import FINISHED, MODEL, Finished, finished, points
from trainer.training.following import Follower, Progress, Stop, keeping
from trainer.training.graphed import GraphedEncoder
from trainer.training.packed import PackedEncoder, covers
from trainer.training.recipe import Recipe
from trainer.training.tables import as_tables, make_tables, tokens_of
from worker.errors import ConfigurationError
from worker.files import write_text
from worker.model.devices import pick_device, use_threads

NOTHING: Mapping[str, Columns] = MappingProxyType({})


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
    development: Mapping[str, Columns] = NOTHING,
) -> Finished:
    """Train the model in `parent` by `recipe` on named tables of columns, inside `folder`.

    With tables for `development` it may stop early, and keeps the best weights (see `Recipe`).
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
    made_of = make_tables(recipe, tables, model=model)
    trainer = _trainer(recipe, model, made_of, folder=folder, development=development)
    patience = recipe.patience if development else None
    run = Follower(on_step, should_stop, started=time.monotonic(), patience=patience)
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
    _refuse_unmeasured(trainer, folder)
    with keeping(folder):
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

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The mean loss over the development split, as `eval_loss`."""
        model: Any = self.model
        tables: Any = self.eval_dataset
        total, rows = 0.0, 0
        model.eval()
        # Its loaders draw a seed each; what is trained on must not depend on being looked at.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for table in tables.values():
                for batch in self.get_eval_dataloader(table):
                    inputs = self._prepare_inputs(batch)
                    count = len(next(v for name, v in inputs.items() if name.endswith("input_ids")))
                    with self.compute_loss_context_manager():
                        total += float(self.compute_loss(model, inputs)) * count
                    rows += count
        model.train()
        metrics = {"eval_loss": total / rows}
        self.log(dict(metrics))
        handler, args = self.callback_handler, self.args
        self.control = handler.on_evaluate(args, self.state, self.control, metrics)
        return metrics

    def whole(self) -> AbstractContextManager[None]:
        """The model as the stock Trainer has it, for the time that it is saved or loaded."""
        return self.encode.whole() if self.encode else nullcontext()

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with keeping(Path(self.args.output_dir or ".")):
            super()._save_checkpoint(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with self.whole():
            super()._save(output_dir, state_dict)

    def _load_best_model(self) -> None:
        # The stock one logs what fails, and goes on with the last weights.
        best = Path(self.state.best_model_checkpoint or "")
        checkpoints.check(best)
        self._load_from_checkpoint(str(best))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with self.whole():
            super()._load_from_checkpoint(resume_from_checkpoint)


def arguments_of(recipe: Recipe, folder: Path, *, cpu: bool, evaluates: bool = False) -> Any:
    """The recipe's arguments as the Trainer takes them, writing checkpoints into `folder`."""
    own = recipe.arguments
    best: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": own.save_steps,
        "per_device_eval_batch_size": own.per_device_train_batch_size,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        **own.model_dump(),
        **(best if evaluates else {}),
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
    recipe: Recipe,
    model: SentenceTransformer,
    tables: Any,
    *,
    folder: Path,
    development: Mapping[str, Columns],
) -> PackedTrainer:
    cpu, loss = model.device.type == "cpu", loss_of(recipe, model)
    arguments = arguments_of(recipe, folder, cpu=cpu, evaluates=bool(development))
    apart = as_tables(development)
    trainer = PackedTrainer(
        model=model, args=arguments, train_dataset=tables, eval_dataset=apart, loss=loss
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if not covers(list(model)) or not hasattr(loss, "compute_loss_from_embeddings"):
        return trainer
    if cpu:
        used = () if recipe.arguments.weight_decay else tokens_of(model, tables, apart)
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


def _refuse_unmeasured(trainer: PackedTrainer, folder: Path) -> None:
    if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is None:
        raise TrainingError(
            f"no checkpoint in {folder} has a development loss that is a number; remove the folder "
            "to train anew"
        )


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
    facts = {
        "log": points(trainer.state.log_history, "loss"),
        "development": points(trainer.state.log_history, "eval_loss"),
        "kept_step": trainer.state.best_global_step,
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
