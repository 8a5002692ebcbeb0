"""How a command ends where nobody reads what it says."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.shell import SCRIPTS, WORKER, Shell
from tests.support.tiny_model import make_tiny_model


@pytest.mark.parametrize("unread", ["stdout", "stderr", "both"])
def test_the_exit_code_is_the_same_where_nobody_reads(tmp_path: Path, unread: str) -> None:
    shell = Shell(tmp_path, DOIVEC_MODEL__NAME=str(make_tiny_model(tmp_path / "model")))
    source = tmp_path / "messy.txt"
    source.write_text("10.1038/nphys1170\nnot a doi\n")
    reader, writer = os.pipe()
    os.close(reader)  # as where `head` has ended
    with os.fdopen(writer, "w") as broken, (tmp_path / "words").open("w") as words:
        process = subprocess.Popen(
            [str(SCRIPTS / WORKER), "ingest", str(source)],
            env=shell.environment,
            stdout=words if unread == "stderr" else broken,
            stderr=words if unread == "stdout" else broken,
        )
        assert process.wait(90) == 3
    said = (tmp_path / "words").read_text()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert shell.json(WORKER, "status")[0]["stored"] == 1
