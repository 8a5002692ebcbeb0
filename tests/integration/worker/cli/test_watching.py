"""Seeing jobs through, without servers: follow, health, Ctrl-C once and twice, no job at all."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import DOIS, EXAMPLES
from tests.support.processes import processes_of
from tests.support.servers import wait_until
from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")))


def long_list(folder: Path, count: int = 160) -> Path:
    """Texts, of which 160 take the tiny model some seconds."""
    source, title = folder / "long.jsonl", "On the origin of species " * 1200
    rows = ({"doi": f"10.1000/{n}", "title": title} for n in range(count))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source


def begun(shell: Shell, process: subprocess.Popen[str]) -> str:
    """The id of the only job, once a batch of it is in hand."""

    def found() -> list[dict[str, object]]:
        return [job for job in json.loads(shell.worker("status", "--json")) if job["began_at"]]

    wait_until(lambda: bool(found()), while_true=lambda: process.poll() is None)
    return str(found()[0]["id"])


@pytest.mark.parametrize("command", ["ingest", "queue"])
def test_a_source_that_never_opened_leaves_no_job(shell: Shell, command: str) -> None:
    (shell.folder / "a.csv").write_text("name\n")
    (shell.folder / "b.pdf").write_bytes(b"%PDF-1.7")
    error = shell.worker(command, "a.csv", "b.pdf", expect=1)
    assert "a.csv" in error
    assert "b.pdf" in error
    assert json.loads(shell.worker("status", "--json")) == []


def test_a_queued_job_is_followed_by_its_beginning(shell: Shell) -> None:
    job = shell.worker("queue", str(EXAMPLES)).strip()
    following = shell.start(WORKER, "follow", job[:6], "--json")
    alone = shell.run(WORKER, "health", expect=1)
    assert f"no worker of {socket.gethostname()} is alive" in alone.stderr
    worker = shell.start(WORKER, "run")
    out, err = following.communicate(timeout=120)
    assert following.returncode == 0, err
    assert json.loads(out)["stored"] == len(DOIS)
    assert f"dois.txt: {len(DOIS)} of {len(DOIS)} DOIs, " in err
    assert shell.json(WORKER, "health")[0]["trouble"] == ""
    wait_until(lambda: f"{len(DOIS)} points" in shell.worker("status"), timeout_s=30.0)
    seen = shell.worker("status")
    assert "0 in hand" in seen
    assert job in seen
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=60)
    assert "none alive" in shell.worker("status")


def test_interrupted_once_it_finishes_what_is_in_hand_and_gives_the_rest_back(
    shell: Shell,
) -> None:
    shell.environment |= {"DOIVEC_INGEST__BATCH_RECORDS": "300", "DOIVEC_INGEST__CONCURRENCY": "1"}
    process = shell.start(WORKER, "ingest", str(long_list(shell.folder, 320)))
    begun(shell, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "finishing 1 batch in hand" in err
    assert "long.jsonl: " in err.partition("finishing")[2], "the bar went on"
    (counts,) = json.loads(shell.worker("status", "--json"))
    assert (counts["settled_batches"], counts["batches"]) == (1, 2)
    assert counts["stored"] in {20, 300}, "what was in hand has settled"
    wait_until(lambda: not processes_of(shell.data))


def test_interrupted_twice_it_leaves_nothing_behind(shell: Shell) -> None:
    shell.environment |= {"DOIVEC_INGEST__BATCH_RECORDS": "4000"}
    process = shell.start(WORKER, "ingest", str(long_list(shell.folder)))
    job = begun(shell, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    while "finishing" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_until(lambda: not processes_of(shell.data))
    assert "none alive" in shell.worker("status")
    assert shell.json(WORKER, "status", job)["settled_batches"] == 0
