"""The worker of a command: what becomes of it, and what is said of it, when things go wrong."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk import Disk, small_disk
from tests.support.paths import DOIS, EXAMPLES
from tests.support.processes import Process, processes_of
from tests.support.servers import wait_until
from tests.support.shell import WORKER, Shell
from tests.support.tiny_model import make_tiny_model

pytestmark = pytest.mark.timeout(240)
HASTE = {"DOIVEC_INGEST__SWEEP_S": "1", "DOIVEC_INGEST__LEASE_S": "4"}


def shell_in(folder: Path, model: Path) -> Shell:
    return Shell(folder, DOIVEC_MODEL__NAME=str(make_tiny_model(model)), **HASTE)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return shell_in(tmp_path, tmp_path / "model")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", mib=40) as made:
        yield made


def worker_of(shell: Shell) -> list[Process]:
    return [p for p in processes_of(shell.data) if "worker.cli" in p.words]


def test_an_ingest_waits_for_room_on_the_disk_and_says_so(disk: Disk, tmp_path: Path) -> None:
    shell = shell_in(disk.path, tmp_path / "model")
    process = shell.start(WORKER, "ingest", str(EXAMPLES), "--json")
    assert process.stderr
    said = ""
    while "make room there" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    assert str(shell.data) in said.replace("\n", "")
    disk.resize(400)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, said + err
    assert f'"stored": {len(DOIS)}' in out


def test_a_worker_that_dies_of_a_full_disk_ends_the_command_with_a_line(shell: Shell) -> None:
    process = shell.start(WORKER, "ingest", str(EXAMPLES))
    while process.poll() is None:
        for worker in worker_of(shell):
            try:
                os.kill(worker.pid, signal.SIGBUS)
            except ProcessLookupError:
                continue
    _, err = process.communicate()
    assert process.returncode == 1
    assert "SIGBUS: most often the disk is full" in err
    assert "MiB are free in" in err


@pytest.mark.parametrize("command", ["run", "ingest"])
def test_after_a_killed_command_the_next_one_works_at_once(shell: Shell, command: str) -> None:
    job = shell.worker("queue", str(EXAMPLES)).strip()
    more = (str(EXAMPLES),) if command == "ingest" else ()
    with (shell.folder / "log").open("w") as log:
        process = shell.start(WORKER, command, *more, output=log)
        wait_until(lambda: bool(worker_of(shell)), while_true=lambda: process.poll() is None)
        edge = shell.data / "edge" / "lock"
        wait_until(lambda: edge.exists() and edge.read_text() != "")
        process.kill()
        process.wait()
    whole = shell.json(WORKER, "ingest", str(EXAMPLES))
    assert whole["stored"] + whole["unchanged"] == len(DOIS)
    assert whole["id"] == job or command == "run"
    wait_until(lambda: not processes_of(shell.data))


def test_an_ingest_beside_a_worker_that_ends_says_so(shell: Shell) -> None:
    with (shell.folder / "log").open("w") as log:
        serving = shell.start(WORKER, "run", output=log)
    lock = shell.data / "redis" / "owner.lock"
    wait_until(lambda: lock.exists() and '"run"' in lock.read_text())
    narrow = {"DOIVEC_INGEST__BATCH_RECORDS": "1", "DOIVEC_INGEST__OUTSTANDING_BATCHES": "1"}
    following = shell.start(WORKER, "ingest", str(EXAMPLES), **narrow)
    wait_until(lambda: '"state": "open"' in shell.run(WORKER, "status", "--json").stdout)
    serving.send_signal(signal.SIGTERM)
    serving.wait(60)
    _, err = following.communicate(timeout=60)
    assert following.returncode == 1, err
    assert f"process {serving.pid} (doi-worker run)" in err
    assert "goes on from here" in err
