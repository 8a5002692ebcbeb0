"""The private Redis: who uses it, and what becomes of it when processes end, or are killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import DOIS, EXAMPLES
from tests.support.processes import processes_of
from tests.support.servers import wait_until
from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model
from worker.embedded.keeper import ask, socket_path

NARROW = {"DOIVEC_INGEST__BATCH_RECORDS": "2", "DOIVEC_INGEST__OUTSTANDING_BATCHES": "3"}
SLOWLY = {"DOIVEC_INGEST__BATCH_RECORDS": "2", "DOIVEC_INGEST__OUTSTANDING_BATCHES": "1"}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(
        tmp_path,
        DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")),
        DOIVEC_INGEST__SWEEP_S="1",
        DOIVEC_INGEST__LEASE_S="4",
    )


def has_job(shell: Shell, process: "subprocess.Popen[str]") -> None:
    """Wait until a `queue -` has opened its job."""
    wait_until(
        lambda: any(job["state"] == "open" for job in shell.json(WORKER, "status")),
        while_true=lambda: process.poll() is None,
    )


def server_pid(shell: Shell) -> int:
    found = [p for p in processes_of(shell.data) if "unixsocket" in " ".join(p.words)]
    assert len(found) == 1, found
    return found[0].pid


def test_a_long_list_is_queued_where_nobody_works(shell: Shell) -> None:
    done = shell.run(WORKER, "queue", str(EXAMPLES), **NARROW)
    assert "doi-worker run" in done.stderr
    job = shell.json(WORKER, "status", done.stdout.strip())
    assert (job["state"], job["accepted"]) == ("sealed", len(DOIS))
    whole = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert whole["stored"] + whole["unchanged"] == len(DOIS)


def test_a_worker_starts_beside_a_queue_and_a_queue_beside_an_ingest(shell: Shell) -> None:
    queueing = shell.start(WORKER, "queue", "-", stdin=subprocess.PIPE)
    has_job(shell, queueing)
    counts = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert counts["stored"] == len(DOIS)
    out, err = queueing.communicate("10.1038/nphys1170\n", timeout=60)
    assert queueing.returncode == 0, err
    assert shell.json(WORKER, "status", out.strip())["accepted"] == 1


@pytest.mark.parametrize("end", ["in good order", "killed"])
def test_the_server_lives_as_long_as_somebody_uses_it(shell: Shell, end: str) -> None:
    first, second = (shell.start(WORKER, "queue", "-", stdin=subprocess.PIPE) for _ in range(2))
    wait_until(lambda: [j["state"] for j in shell.json(WORKER, "status")] == ["open"] * 2)
    if end == "killed":
        first.kill()
    first.communicate("10.1038/nphys1170\n", timeout=60)
    out, err = second.communicate("10.1038/nphys1171\n10.1038/nphys1172\n", timeout=60)
    assert second.returncode == 0, err
    assert shell.json(WORKER, "status", out.strip())["accepted"] == 2
    wait_until(lambda: not processes_of(shell.data))


@pytest.mark.parametrize("depth", [0, 12])
def test_another_tmpdir_finds_the_same_server(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a%20 long?folder#"] * depth)
    elsewhere = tmp_path / "elsewhere"
    folder.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir()
    shell = Shell(folder)
    queueing = shell.start(WORKER, "queue", "-", stdin=subprocess.PIPE)
    has_job(shell, queueing)
    asked = shell.run(WORKER, "status", "--json", TMPDIR=str(elsewhere))
    assert '"open"' in asked.stdout
    queueing.communicate("10.1038/nphys1170\n", timeout=60)
    assert queueing.returncode == 0
    assert not list(elsewhere.iterdir())


def test_a_server_that_is_killed_under_an_ingest_is_started_again(shell: Shell) -> None:
    process = shell.start(WORKER, "ingest", str(EXAMPLES), "--json", **SLOWLY)
    log = shell.data / "worker.log"
    for _ in range(2):
        seen = log.read_text().count("records/s") if log.exists() else 0
        wait_until(
            lambda: log.exists() and log.read_text().count("records/s") > seen,
            while_true=lambda: process.poll() is None,
        )
        os.kill(server_pid(shell), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f'"stored": {len(DOIS)}' in out or f'"stored":{len(DOIS)}' in out


def test_a_server_that_does_not_come_up_tells_its_last_words(shell: Shell) -> None:
    shell.worker("status")
    files = shell.data / "redis" / "appendonlydir"
    (manifest,) = files.glob("*.manifest")
    manifest.write_text("file nonsense\n")
    error = shell.worker("status", expect=1)
    assert len(error.strip().splitlines()) == 1
    assert "manifest" in error
    assert "redis.log" in error
    assert not processes_of(shell.data)


def test_a_keeper_that_is_killed_is_followed_by_another(shell: Shell) -> None:
    queueing = shell.start(WORKER, "queue", "-", stdin=subprocess.PIPE)
    has_job(shell, queueing)
    (keeper,) = [p for p in processes_of(shell.data) if "worker.embedded.keeper" in p.words]
    os.kill(keeper.pid, signal.SIGKILL)
    assert shell.json(WORKER, "status")[0]["state"] == "open"
    _, err = queueing.communicate("10.1038/nphys1170\n", timeout=60)
    assert queueing.returncode in {0, 1}, err
    wait_until(lambda: not processes_of(shell.data))


@pytest.mark.skipif(sys.platform != "linux", reason="a process's end is told to its child there")
def test_nothing_is_left_of_an_ingest_that_is_killed(shell: Shell) -> None:
    process = shell.start(WORKER, "ingest", str(EXAMPLES), **SLOWLY)
    log = shell.data / "worker.log"
    wait_until(lambda: log.exists() and "records/s" in log.read_text())
    process.kill()
    process.communicate()
    wait_until(lambda: not processes_of(shell.data))
    path = socket_path(shell.data / "redis")
    assert path is not None
    assert ask(path, b"PING\r\n") == b""
