"""The composition root of the trainer: settings to objects."""

from pathlib import Path
from typing import NamedTuple

from trainer.held_out import HeldOutStore
from trainer.metadata import MetadataStore
from trainer.pairs import PairStore
from worker.registry import Registry
from worker.settings import Settings


class Stores(NamedTuple):
    """What the trainer keeps below the data directory; `root` is its own folder there."""

    settings: Settings
    root: Path
    pairs: PairStore
    metadata: MetadataStore
    held_out: HeldOutStore
    registry: Registry


def open_stores(settings: Settings) -> Stores:
    """The stores of these settings; nothing is made before something is kept."""
    root = settings.data_dir / "trainer"
    return Stores(
        settings,
        root,
        PairStore(root, limits=settings.limits, caps=settings.pairs),
        MetadataStore(root, limits=settings.limits),
        HeldOutStore(root),
        Registry(settings.data_dir / "models"),
    )
