"""What a run made, in its folder."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from schemas.training import LossPoint

FINISHED, MODEL = "finished.json", "model"


class Finished(NamedTuple):
    """What a run made: a sentence-transformers directory with its model card, and its log."""

    path: Path
    log: tuple[LossPoint, ...]
    steps: int
    train_s: float
    device: str


def finished(folder: Path) -> Finished | None:
    """What the run in a folder made; None where it has not ended, or what it made is gone."""
    try:
        facts = json.loads((folder / FINISHED).read_text())
    except FileNotFoundError:
        return None
    if not (folder / MODEL).is_dir():  # registered, taken from here, and pruned since
        return None
    log = tuple(LossPoint.model_validate(point) for point in facts["log"])
    for checkpoint in folder.glob("checkpoint-*"):  # of no more use
        shutil.rmtree(checkpoint)
    return Finished(folder / MODEL, log, facts["steps"], facts["train_s"], facts["device"])
