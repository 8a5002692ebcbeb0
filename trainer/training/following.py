"""Follows a run: tells how far it is, stops it on demand or in time, seals its checkpoints."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import TrainerCallback

from trainer.errors import TrainingError
from trainer.training import checkpoints

Progress = Callable[[int, int, float | None], None]
Stop = Callable[[], bool]


class Follower(TrainerCallback):
    """Tells how far a run is, stops it, and seals its checkpoints.

    With `patience` it has the development loss taken at the last step too, and stops after so
    many evaluations without a lower one. `elapsed_s` counts from `started`, in monotonic seconds.
    """

    def __init__(
        self,
        on_step: Progress | None,
        should_stop: Stop | None,
        *,
        started: float,
        patience: int | None,
    ) -> None:
        self._on_step = on_step
        self._should_stop = should_stop
        self._started = started
        self._patience = patience
        self.before_s = 0.0
        self.stopped = False

    @property
    def elapsed_s(self) -> float:
        """The seconds of training, those before a resumption included."""
        return self.before_s + time.monotonic() - self._started

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell the step, and see whether to stop."""
        if self._on_step:
            self._on_step(state.global_step, state.max_steps, None)
        if self._is_settled(state):  # and was cut off before it ended: this step counts no more
            control.should_training_stop, control.should_evaluate = True, False
            return
        if self._should_stop and self._should_stop() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True
        if self._patience and state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop where the last evaluations were no better."""
        if self._is_settled(state):
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell a loss."""
        logs = kwargs.get("logs")
        if self._on_step and logs and "loss" in logs:
            self._on_step(state.global_step, state.max_steps, float(logs["loss"]))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Seal a checkpoint."""
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with keeping(path.parent):
            checkpoints.seal(path, train_s=self.elapsed_s)

    def _is_settled(self, state: Any) -> bool:
        # By the log, which a checkpoint keeps: a resumed run has its evaluations too.
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        if not (self._patience and losses):
            return False
        return len(losses) - 1 - losses.index(min(losses)) >= self._patience


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
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
