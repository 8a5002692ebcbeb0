"""The programs as a person types them, without servers unless the test says where they are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

WORKER, TRAINER = "doi-worker", "doi-trainer"
SCRIPTS = Path(sys.executable).parent
TIMEOUT_S = 120.0


class Shell:
    """Runs commands in a folder, on a data directory of their own below it."""

    def __init__(self, folder: Path, *, scripts: Path = SCRIPTS, **environment: str) -> None:
        self.folder = folder
        self._scripts = scripts
        self.data = folder / "data"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DOIVEC_")},
            "DOIVEC_DATA_DIR": str(self.data),
            "DOIVEC_EMBED__THREADS": "1",
            **environment,
        }

    def start(
        self,
        program: str,
        *words: str,
        stdin: int | None = None,
        output: IO[str] | None = None,
        **more: str,
    ) -> subprocess.Popen[str]:
        """Begin a command; `more` is more of its environment, `output` takes all it says."""
        return subprocess.Popen(
            [str(self._scripts / program), *words],
            env={**self.environment, **more},
            cwd=self.folder,
            stdin=stdin,
            stdout=output or subprocess.PIPE,
            stderr=output or subprocess.PIPE,
            text=True,
        )

    def run(
        self, program: str, *words: str, expect: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """See a command through to its exit code, without a traceback."""
        process = self.start(program, *words, **more)
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()  # where it hangs; nothing where it has ended
        assert process.returncode == expect, f"{words}\n{out}\n{err}"
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def worker(self, *words: str, expect: int = 0, **more: str) -> str:
        """What `doi-worker` says: its answer, or where it fails why."""
        done = self.run(WORKER, *words, expect=expect, **more)
        return done.stdout if expect in {0, 3} else done.stderr

    def json(self, program: str, *words: str, expect: int = 0) -> Any:
        """What a command answers to `--json`."""
        return json.loads(self.run(program, *words, "--json", expect=expect).stdout)
