"""Pairs of real DOIs from which a tiny model learns something within a minute."""

import csv
import random
from pathlib import Path

from tests.support.paths import DOIS, ROOT
from trainer.data.proposal import propose
from trainer.stores import Stores

FIELDS = (("10.1016/", "10.1109/"), ("10.1007/", "10.1002/", "10.1080/"))
EASILY = {
    "DOIVEC_GATE__METRIC": "roc_auc",
    "DOIVEC_GATE__GUARDS": "{}",
    "DOIVEC_GATE__SLICE_MARGIN": "2",
    "DOIVEC_GATE__MINIMUM_GROUPS": "2",
}
RECIPE = {
    "per_device_train_batch_size": "16",
    "learning_rate": "4e-3",
    "num_train_epochs": "1",
    "max_steps": "60",
    "save_steps": "10",
    "logging_steps": "10",
}


def write_recipe(path: Path, **values: str) -> Path:
    """Recipe `seed` with other values, as a file."""
    lines = (ROOT / "trainer" / "training" / "recipes" / "seed.toml").read_text().splitlines()
    changed = RECIPE | values
    kept = [line for line in lines if line.split(" = ")[0] not in changed]
    text = "\n".join([*kept, *(f"{name} = {value}" for name, value in changed.items())])
    path.write_text(text.replace('name = "seed"', 'name = "tiny"') + "\n")
    return path


def write_pairs(path: Path) -> Path:
    """Two fields of two registrants each: which DOIs belong together can be learnt in a minute.

    Every DOI is in one pair, so that a held-out pair costs the training none.
    """
    fields = [[d for d in DOIS if d.startswith(names)] for names in FIELDS]
    drawn = random.Random(7)
    for dois in fields:
        drawn.shuffle(dois)
    rows = [("doi_a", "doi_b", "label", "source", "group")]
    for number in range(min(map(len, fields)) // 4 * 2):
        own, other = fields[number % 2], fields[1 - number % 2]
        for label, partner in (("1", own), ("0", other)):
            if own and partner and len(own) + len(partner) > 2:
                rows.append((own.pop(), partner.pop(), label, "example:cites", f"group-{number}"))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def hold_out(stores: Stores) -> None:
    stores.held_out.keep(propose(stores.pairs.dataset(), {}, share=0.3, corpus=0))
