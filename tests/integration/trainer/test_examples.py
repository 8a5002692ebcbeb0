"""README's "Improve the model", typed by a newcomer."""

import csv
import shlex
import shutil
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.shell import WORKER, Shell

PLACEHOLDER, FEW = "3f2a9c01", "few.csv"
pytestmark = pytest.mark.timeout(400)


def typed() -> list[list[str]]:
    """The words of each line of the first block of that section."""
    section = (ROOT / "README.md").read_text().partition("## Improve the model")[2]
    block = section.split("```")[1]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line]


def topics(examples: Path) -> dict[str, set[str]]:
    """The papers of each review."""
    found: dict[str, set[str]] = {}
    for row in csv.DictReader((examples / "pairs.csv").read_text().splitlines()):
        if row["group"] != "between" and row["label"] == "1":
            topic = row["group"].rpartition("-")[0]
            found.setdefault(topic, set()).update((row["doi_a"], row["doi_b"]))
    return found


def copied(folder: Path) -> Path:
    """The examples, and of the papers those in pairs alone: to ingest these is quicker."""
    examples = folder / "examples"
    shutil.copytree(ROOT / "examples", examples)
    pairs = list(csv.DictReader((examples / "pairs.csv").read_text().splitlines()))
    named = {row[side] for row in pairs for side in ("doi_a", "doi_b")}
    rows = list(csv.reader((examples / "papers.csv").read_text().splitlines()))
    kept = [rows[0], *(row for row in rows if row[0].lower() in named)]
    assert len(kept) - 1 == len(named) == 162, "each paper of the pairs has its title"
    with (folder / FEW).open("w", newline="") as file:
        csv.writer(file).writerows(kept)
    return examples


def test_improve_the_model_ends_in_a_promotion_that_changes_a_search_for_the_better(
    tmp_path: Path,
) -> None:
    shell, wanted = Shell(tmp_path), topics(copied(tmp_path))["CalciumChannelBlockers"]
    *commands, search = typed()
    version, before = "", set[str]()
    for program, *words in commands:
        if program == "export":
            name, _, value = words[0].partition("=")
            shell.environment[name] = value
            continue
        if program == WORKER:
            words[1] = FEW
        said = shell.run(program, *(version if word == PLACEHOLDER else word for word in words))
        if program == WORKER:
            before = found(shell, search)
        if words[0] == "train":
            version = said.stdout.split()[1]
            assert said.stdout.startswith(f"registered {version}\n")
        if words[0] == "compare":
            assert said.stdout.startswith(f"promote: {version}")
    after = found(shell, search)
    assert len(wanted & after) > len(wanted & before)


def found(shell: Shell, search: list[str]) -> set[str]:
    return {hit["doi"] for hit in shell.json(search[0], *search[1:])}
