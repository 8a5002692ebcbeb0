"""The local index of titles from a shell: without servers, and killed at any moment."""

import gzip
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import processes_of
from tests.support.servers import wait_until
from tests.support.shell import WORKER, Shell
from worker.metadata.index import Index

FILES, RECORDS = 8, 600
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    # Nothing is there to connect to: no command here needs it.
    url = "redis://localhost:1/0"
    return Shell(tmp_path, DOIVEC_REDIS__URL=url, DOIVEC_QDRANT__URL="http://localhost:1")


def doi(n: int) -> str:
    return f"10.1000/{n}"


def snapshot(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        works = [
            {"DOI": doi(n), "title": [f"Title {n}"], "indexed": {"timestamp": 1_700_000_000_000}}
            for n in range(number * RECORDS, (number + 1) * RECORDS)
        ]
        content = "".join(json.dumps(work) + "\n" for work in works).encode()
        (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(content))


def test_what_cannot_be_read_is_said_in_a_line(shell: Shell) -> None:
    (shell.folder / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"DOI": "10.1000/1"}\n' * 9)[:-9])
    said = shell.worker("metadata", "index", "cut.jsonl.gz", expect=1)
    assert "cut.jsonl.gz: cut off: its compressed data ends too early" in said
    assert "1 of 1 files could not be read to their end" in said


def kill(shell: Shell, moment: Callable[[], bool]) -> None:
    """Index in two processes, and kill the command at a moment, or after that."""
    process = shell.start(WORKER, "metadata", "index", "snapshot", "--jobs", "2")
    wait_until(lambda: process.poll() is not None or moment(), timeout_s=60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not processes_of(shell.data), timeout_s=60)  # its readers end with it


def test_a_run_that_is_killed_is_completed_by_the_same_command(shell: Shell) -> None:
    snapshot(shell.folder / "snapshot")
    runs = shell.data / "metadata.sqlite.runs"
    index = Index(shell.data / "metadata.sqlite")
    kill(shell, lambda: any(runs.glob("*.new")) or any(runs.glob("*.run")))
    kill(shell, lambda: len(list(runs.glob("*.run"))) > 2)
    kill(shell, lambda: bool(index.counts(now=0)) and index.counts(now=0)["crossref"].found > 0)
    told = shell.json(WORKER, "metadata", "index", "snapshot", "--jobs", "2")
    assert told["files"] + told["before"] == FILES
    assert index.counts(now=0)["crossref"] == (FILES * RECORDS, 0, 0)
    found = index.find([doi(n) for n in range(FILES * RECORDS + 1)])
    assert {name: one[0].title for name, one in found.items()} == {
        doi(n): f"Title {n}" for n in range(FILES * RECORDS)
    }
    assert not runs.exists()
