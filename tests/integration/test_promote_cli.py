"""promote, rollback, prune and history as a user runs them, without servers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.learnable import DOIS
from tests.servers import wait_until
from tests.tiny_model import make_tiny_model
from worker.model.registry import Registry

WORKER = "from worker.cli.commands import main; main()"
TRAINER = "from trainer.cli.commands import main; main()"
pytestmark = pytest.mark.timeout(240)


class Shell:
    """The commands, on a data directory of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = make_tiny_model(folder / "first")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DOIVEC_")},
            "DOIVEC_DATA_DIR": str(folder / "data"),
            "DOIVEC_MODEL__NAME": str(model),
            "DOIVEC_EMBED__THREADS": "1",
        }

    def register(self, *templates: str) -> str:
        source = make_tiny_model(self.folder / f"m{len(templates)}", seed=1, dimension=48)
        registry = Registry(self.folder / "data" / "models")
        return registry.register(source, name="second", templates=templates).version

    def run(self, program: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, program: str, *words: str) -> Any:
        return json.loads(self.run(program, *words, "--json").stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    source = tmp_path / "papers.jsonl"
    rows = [{"doi": doi, "title": f"A study of {doi}"} for doi in DOIS[:80]]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    made.run(WORKER, "ingest", str(source))
    return made


def test_from_one_model_to_another_and_back(shell: Shell) -> None:
    second = shell.register("{title}")
    found = shell.json(TRAINER, "promote", second[:12], "--dry-run")
    assert (found["points"], found["records"], found["unreadable"]) == (80, 80, [])
    assert shell.json(TRAINER, "history") == []
    words = shell.run(TRAINER, "promote", second[:12])
    assert "switch: the alias moves to dois-" in words.stderr
    assert f"{second[:12]} is live, as dois-{second[:16]}, with 80 records" in words.stdout
    assert len(shell.json(WORKER, "search", "--text", "A study", "-k", "3")) == 3
    assert "is live already" in shell.run(TRAINER, "promote", second).stdout
    back = shell.json(TRAINER, "rollback", "--now")
    assert (back["previous"], back["missing"]) == (second, 0)
    kinds = [(e["kind"], e["outcome"]) for e in shell.json(TRAINER, "history")]
    assert kinds == [("rollback", "switched"), ("promote", "switched")]
    assert "nothing to remove" in shell.run(TRAINER, "prune", "--keep", "0").stdout


def test_what_cannot_be_done_is_said_in_one_line(shell: Shell) -> None:
    source = shell.folder / "bare.txt"
    source.write_text(DOIS[100])
    shell.run(WORKER, "ingest", str(source))
    second = shell.register("{title}")
    refused = shell.run(TRAINER, "promote", second, code=1)
    last = refused.stderr.strip().splitlines()[-1]
    assert last.startswith(f"doi-trainer: {second[:12]} can't read 1 of 81 records")
    listed = shell.json(TRAINER, "promote", second, "--allow-missing")
    assert Path(listed["listed"]).read_text().strip() == DOIS[100].lower()
    unknown = shell.run(TRAINER, "promote", "feedface", code=1)
    assert unknown.stderr.strip().splitlines()[-1].startswith("doi-trainer: the registry ")


def test_ctrl_c_in_a_promotion_and_the_same_command_again(shell: Shell) -> None:
    second = shell.register("{title}")
    log = shell.folder / "promote.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAINER, "promote", second],
            env=shell.environment,
            stdout=output,
            stderr=output,
        )
    wait_until(lambda: "backfill: " in log.read_text(), what=log.read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in {130, 0}
    assert "Traceback" not in log.read_text()
    shell.run(TRAINER, "promote", second)
    assert f"dois-{second[:16]}" in shell.run(TRAINER, "promote", second).stdout
