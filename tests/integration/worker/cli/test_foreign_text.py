"""Names that nobody chose with care, streams that are closed, files that must not be lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shell import SCRIPTS, TIMEOUT_S, WORKER, Shell
from tests.support.tiny_model import make_tiny_model

DOI = "10.1038/nphys1170"
CODES = "\x1b[31m"
NAME = f"n\udcff{CODES}.txt"
NAMED = r"n\xff\u001b[31m.txt"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")))


def bash(shell: Shell, line: str, *, expect: int = 0, **more: str) -> str:
    """All that a line of bash says; a pipe's code is that of the first command."""
    path = f"{SCRIPTS}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line + "; exit ${PIPESTATUS[0]}"],
        env={**shell.environment, **more, "PATH": path},
        cwd=shell.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == expect, said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return said


def enqueue(shell: Shell, job: str) -> None:
    code = "import doivec, sys; doivec.enqueue([sys.argv[1]], job=sys.argv[2])"
    subprocess.run(
        [sys.executable, "-c", code, DOI, job], env=shell.environment, check=True, timeout=TIMEOUT_S
    )


def test_a_job_may_have_any_name(shell: Shell) -> None:
    enqueue(shell, "a[/]b")
    enqueue(shell, f"c{CODES}d")
    for line in ("status", "status --json", "status 'a[/]b'", f"cancel 'c{CODES}d'", "dead list"):
        said = bash(shell, f"doi-worker {line}")
        assert CODES not in said
    assert "a[/]b" in bash(shell, "doi-worker status", COLUMNS="200")
    assert r"c\u001b[31md" in bash(shell, "doi-worker status", COLUMNS="200")


def test_a_file_may_have_any_name(shell: Shell) -> None:
    source = shell.folder / NAME
    source.write_text(f"{DOI}\nbad {CODES}\n")
    said = shell.run(WORKER, "ingest", NAME, "--rejects", "rejects.jsonl", expect=3)
    assert f"{NAMED}:2: " in said.stderr
    assert f"({NAMED})" in said.stdout
    assert CODES not in said.stdout + said.stderr
    rejected = json.loads((shell.folder / "rejects.jsonl").read_text())
    assert rejected["source"] == "n\\xff\x1b[31m.txt"
    source.unlink()
    assert f"{NAMED}: No such file" in shell.worker("ingest", NAME, expect=1)
    assert CODES not in shell.worker("ingest", f"--{CODES}", expect=2)


def test_a_title_is_text_on_any_terminal(shell: Shell) -> None:
    source = shell.folder / "a.jsonl"
    title = f"[/] naïve {CODES}\u202e"
    source.write_text(json.dumps({"doi": DOI, "title": title}) + f'\n"{DOI}2"\n')
    shell.worker("ingest", str(source))
    hits = shell.worker("search", f"{DOI}2", "--all", PYTHONIOENCODING="ascii")
    clean = title.replace("\x1b", " ")
    assert hits.endswith(r"[/] na\u00efve [31m\u202e" + "\n")
    found = shell.worker("search", f"{DOI}2", "--all", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(found)[0]["metadata"]["title"] == " ".join(clean.split())


def test_streams_may_be_closed(shell: Shell) -> None:
    (shell.folder / "a.txt").write_text(f"{DOI}\nbad\n")
    said = bash(shell, "doi-worker queue - <&-", expect=1)
    assert said.endswith("doi-worker: standard input: it is closed\n")
    bash(shell, "doi-worker ingest a.txt <&-", expect=3)
    for ending in ("<&-", ">&-", "2>&-", "| true", "2>&1 | true"):
        bash(shell, f"doi-worker status {ending}")
        bash(shell, f"doi-worker status --json {ending}")
    assert bash(shell, "doi-worker ingest a.txt --json 2>&1 | true", expect=3) == ""
    assert bash(shell, "doi-worker ingest absent.txt 2>&1 | true", expect=1) == ""
    assert bash(shell, "doi-trainer versions 2>&1 | true") == ""


READERS = ["doi-worker ingest", "doi-worker queue"]
READERS += ["doi-trainer pairs import", "doi-trainer metadata import"]


@pytest.mark.parametrize("command", READERS)
def test_rejects_never_overwrite_what_is_read(shell: Shell, command: str) -> None:
    source = shell.folder / "a.jsonl"
    source.write_text('"bad"\n')
    code = 1 if "worker" in command else 3  # an import is told what it rejects at its end
    (shell.folder / "hard.jsonl").hardlink_to(source)
    (shell.folder / "soft.jsonl").symlink_to(source)
    for name in ("a.jsonl", "./a.jsonl", "hard.jsonl", "soft.jsonl"):
        said = bash(shell, f"{command} b.jsonl a.jsonl --rejects {name}", expect=2)
        assert f"--rejects {Path(name)} is one of the files to read" in said
    bash(shell, f"{command} --rejects hard.jsonl - < a.jsonl", expect=2)
    assert source.read_text() == '"bad"\n'
    bash(shell, f"{command} --rejects new.jsonl a.jsonl", expect=code)
    assert '"bad' in json.loads((shell.folder / "new.jsonl").read_text())["raw"]


def test_dead_letters_of_a_job_that_never_was(shell: Shell) -> None:
    for verb in ("list", "list --json", "replay", "replay --json"):
        said = bash(shell, f"doi-worker dead {verb} never", expect=1)
        assert said.startswith("doi-worker: no job 'never'")
