"""How a model version came to be: its recipe, its data, its run."""

from datetime import datetime
from typing import Any

from schemas.evaluation import Frozen


class LossPoint(Frozen):
    """The mean training loss since the point before, at an optimizer step."""

    step: int
    epoch: float
    loss: float


class PairCounts(Frozen):
    """What became of a dataset's pairs: trained on, or left out and why.

    `development` are those of the groups that training was stopped by.
    """

    trained: int
    positives: int
    held_out_group: int
    held_out_doi: int
    unread: int
    development: int = 0


class TrainingRecord(Frozen):
    """The provenance of a version: all that is needed to make it again.

    `recipe` has every value that was in force; `parent` is a version or `base`; `dataset` is the
    hash of `shards`, `metadata` that of the metadata's; `code` is the SHA-256 of doivec's own
    sources (of each, where a run went on under others); `packages` has the versions of the
    libraries that decide the result. `development` is the loss over the development split, where
    there was one: the trained weights are those of `kept_step`, where it was lowest.
    """

    name: str
    recipe: dict[str, Any]
    parent: str
    dataset: str
    shards: tuple[str, ...]
    metadata: str
    held_out: str
    pairs: PairCounts
    code: tuple[str, ...]
    packages: dict[str, str]
    device: str
    started_at: datetime
    train_s: float
    steps: int
    log: tuple[LossPoint, ...]
    development: tuple[LossPoint, ...] = ()
    kept_step: int | None = None
