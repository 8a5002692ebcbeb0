"""What the trainer keeps below the data directory."""

from pathlib import Path
from typing import NamedTuple

from trainer.data.held_out import HeldOutStore
from trainer.data.metadata import MetadataStore
from trainer.data.pairs import PairStore
from trainer.data.supply import Supplier
from worker.model.registry import Registry
from worker.settings.environment import Settings


class Stores(NamedTuple):
    """What the trainer keeps below the data directory; `root` is its own folder there.

    `supply` takes what others know of DOIs into `metadata`.
    """

    settings: Settings
    root: Path
    pairs: PairStore
    metadata: MetadataStore
    supply: Supplier
    held_out: HeldOutStore
    registry: Registry
