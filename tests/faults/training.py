"""Kills of a trainer while it trains, registers and evaluates, by seed; `make faults` runs all.

`doi-trainer train` is killed (SIGKILL) at up to three moments, and given again. In the end there is
the version that a run makes which nobody disturbed: the same weights, bit for bit, and no other.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.children import Child, preload
from tests.support.learnable import hold_out, write_pairs, write_recipe
from tests.support.tiny_model import make_tiny_model
from trainer.bootstrap import open_stores
from trainer.records import read_reports
from worker.settings.environment import Settings

ROUNDS = 30
MOST_KILLS = 3
LONGEST_RUN_S = 120.0
TRAINERS = ("sentence_transformers", "trainer.training.runs", "trainer.evaluation.assessment")


class Training:
    """Two desks with the same pairs: at one, runs are left in peace; at the other, killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children = 0
        self._recipe = write_recipe(folder / "tiny.toml", max_steps="24", save_steps="2")
        pairs, model = write_pairs(folder / "pairs.csv"), make_tiny_model(folder / "model")
        self._desks = {name: Settings(data_dir=folder / name) for name in ("whole", "killed")}
        for settings in self._desks.values():
            stores = open_stores(settings)
            stores.pairs.import_files([str(pairs)], dry_run=False)
            hold_out(stores)
            made = stores.registry.register(model, name="tiny", templates=("{doi}",))
            self._parent = made.version

    def round(self, seed: int) -> list[str]:
        """One run with kills; it tells them. AssertionError where the run isn't as it must be."""
        chosen = random.Random(f"training {seed}")
        began = time.monotonic()
        whole = self._start("whole", seed)
        assert whole.ended(LONGEST_RUN_S) == 0, whole.said
        takes_s = time.monotonic() - began
        did = []
        for _ in range(chosen.randint(1, MOST_KILLS)):
            child = self._start("killed", seed)
            child.process.join(chosen.uniform(0, takes_s))
            did.append("trainer" if child.process.is_alive() else "trainer, too late")
            child.kill()
            assert "Traceback" not in child.said, child.said
        last = self._start("killed", seed)
        assert last.ended(LONGEST_RUN_S) == 0, last.said
        self._check()
        return did

    def _check(self) -> None:
        """Both desks have the same versions with the same figures, whole, and nothing half made."""
        registries = {name: open_stores(desk).registry for name, desk in self._desks.items()}
        found = {name: registry.versions() for name, registry in registries.items()}
        assert found["whole"] == found["killed"], found
        for version in found["killed"]:
            paths = {name: registry.get(version)[0] for name, registry in registries.items()}
            assert read_reports(paths["whole"]) == read_reports(paths["killed"]), version
        models = self._desks["killed"].data_dir / "models"
        left = [path.name for path in models.iterdir() if path.name.startswith((".new-", ".gone-"))]
        assert not left, f"half a version is left: {left}"

    def _start(self, desk: str, seed: int) -> Child:
        self._children += 1
        options = ("--recipe", str(self._recipe), "--from", self._parent, "--set", f"seed={seed}")
        return Child(
            "trainer",
            ("train", *options),
            environment={"DOIVEC_DATA_DIR": str(self._desks[desk].data_dir)},
            log=self._folder / f"trainer-{self._children}.log",
            traps=self._folder,
        )


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """A run with kills, by its seed."""
    preload(*TRAINERS)
    yield Training(folder).round
