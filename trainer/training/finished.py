"""What a run made, in its folder."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from schemas.training import LossPoint

FINISHED, MODEL = "finished.json", "model"


class Finished(NamedTuple):
    """What a run made: a sentence-transformers directory with its model card, and its logs."""

    path: Path
    log: tuple[LossPoint, ...]
    steps: int
    train_s: float
    device: str
    development: tuple[LossPoint, ...] = ()
    kept_step: int | None = None


def finished(folder: Path) -> Finished | None:
    """What the run in a folder made; None where it has not ended, or what it made is gone."""
    try:
        facts = json.loads((folder / FINISHED).read_text())
    except FileNotFoundError:
        return None
    if not (folder / MODEL).is_dir():  # registered, taken from here, and pruned since
        return None
    log, development = (
        tuple(LossPoint.model_validate(point) for point in facts.get(name, ()))
        for name in ("log", "development")
    )
    for checkpoint in folder.glob("checkpoint-*"):  # of no more use
        shutil.rmtree(checkpoint)
    return Finished(
        folder / MODEL,
        log,
        facts["steps"],
        facts["train_s"],
        facts["device"],
        development,
        facts.get("kept_step"),
    )


def points(log: Iterable[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The losses of this name in the Trainer's log, as `finished` reads them."""
    found = [entry for entry in log if name in entry]
    made = [LossPoint(step=e["step"], epoch=e["epoch"], loss=float(e[name])) for e in found]
    return [point.model_dump() for point in made]
