"""What the trainer's work on pairs takes of memory: import, count, hold out, plan, bootstrap.

`python -m benchmarks.memory [PAIRS]` writes `benchmarks/results/memory.json`: two minutes of one
core for 300,000 pairs, three quarters of an hour for ten million. The pairs are made up: ten of
each group, which share their first DOI, two second DOIs of three in another pair too, DOIs of
usual length, a title for one in five. Each step runs in a process of its own, whose largest
resident size is told, less what its imports take (0.5 GiB).
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import machine
from trainer.bootstrap import open_stores
from trainer.data import stats
from trainer.evaluation import metrics
from trainer.stores import Stores
from trainer.training import judging, recipe, runs
from worker.settings.environment import Settings

PAIRS, OF_GROUP, GROUPS = 300_000, 10, 100_000
MIB_KIB = 1024


def main(pairs: int = PAIRS) -> None:
    """Make the pairs, run each step, print and write the results."""
    with TemporaryDirectory() as made:
        write_files(Path(made), pairs)
        found = {name: measured(name, Path(made)) for name in STEPS}
    machine.write_result("memory", {"pairs": pairs, "groups": GROUPS, "steps": found})


def write_files(folder: Path, pairs: int) -> None:
    """Pairs and titles as files."""
    drawn = np.random.default_rng(11).integers(pairs // 10, pairs, pairs).tolist()
    dois = [f"10.{1000 + n % 9000}/journal.{n:x}.{n * 7919 % 99991:05}" for n in range(pairs)]
    with (folder / "pairs.csv").open("w") as file:
        file.write("doi_a,doi_b,label,source,group\n")
        for n in range(pairs):
            a, b = dois[n // OF_GROUP], dois[drawn[n]]
            file.write(f"{a},{b},{n % 3 > 0:d},some:cites,group-{n // OF_GROUP}\n")
    with (folder / "titles.jsonl").open("w") as file:
        for doi in dois[::5]:
            file.write(json.dumps({"doi": doi, "title": f"A study of {doi} and of others"}) + "\n")


def measured(name: str, folder: Path) -> dict[str, float]:
    """A step in a process of its own: seconds, and MiB beyond those of its imports."""
    command = [sys.executable, "-m", "benchmarks.memory", "--step", name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=machine.ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def step(name: str, folder: Path) -> None:
    """Run a step in this process, and print what it took."""
    stores = open_stores(Settings(data_dir=folder / "data", pairs={"source_share": 1}))
    before, began = resident(), time.monotonic()
    STEPS[name](stores, folder)
    took = {"seconds": round(time.monotonic() - began, 1), "mib": round(resident() - before)}
    print(json.dumps(took))


def resident() -> float:
    """The largest resident size so far, in MiB; `getrusage` would have that of the parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / MIB_KIB


def take_in(stores: Stores, folder: Path) -> None:
    """Import the pairs."""
    stores.pairs.import_files([str(folder / "pairs.csv")])


def take_in_titles(stores: Stores, folder: Path) -> None:
    """Import the titles."""
    stores.metadata.import_files([str(folder / "titles.jsonl")])


def count(stores: Stores, _: Path) -> None:
    """`pairs stats`."""
    stats.of(stores.pairs, stores.metadata, ("{title}", "{doi}"))


def hold_out(stores: Stores, _: Path) -> None:
    """`pairs hold-out`."""
    judging.freeze(stores, share=0.1)


def plan(stores: Stores, _: Path) -> None:
    """What `train` does before it trains."""
    runs.plan(stores, recipe.load("title"), parent="base")


def bootstrap(_: Stores, __: Path) -> None:
    """The intervals of an evaluation of so many groups, three pairs each."""
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(GROUPS), 3)
    scores, labels = generator.random(len(groups)), generator.integers(0, 2, len(groups))
    metrics.mean_of_groups(scores, groups=groups)
    chosen = {"roc_auc": metrics.roc_auc}
    metrics.resample_pairs(chosen, scores, labels=labels, groups=groups)


STEPS: dict[str, Callable[[Stores, Path], None]] = {
    "pairs import": take_in,
    "metadata import": take_in_titles,
    "pairs stats": count,
    "pairs hold-out": hold_out,
    "plan": plan,
    "bootstrap": bootstrap,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        step(sys.argv[2], Path(sys.argv[3]))
    else:
        main(*map(int, sys.argv[1:]))
