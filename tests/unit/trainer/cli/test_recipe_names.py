"""A wrong recipe is told before anything heavy is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from trainer.cli.commands import cli
from trainer.errors import TrainerError
try:
    cli(sys.argv[1:], standalone_mode=False)
except TrainerError as error:
    print(error)
print("torch" in sys.modules, "transformers" in sys.modules)
"""


@pytest.mark.parametrize("words", [["train"], ["refine"], ["pairs", "stats"]])
def test_a_wrong_recipe_is_told_at_once(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-c", CODE, *words, "--recipe", "titel"]
    environment = {"DOIVEC_DATA_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "titel" in done.stdout
    assert done.stdout.endswith("False False\n"), done.stdout
    assert list(tmp_path.iterdir()) == []
