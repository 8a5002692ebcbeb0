"""The clock of a Redis, moved while it runs."""

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """A clock in a file; a program started with `environment` goes by it.

    `is_there` is false where no C compiler is: the program then has the machine's clock.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self._library = folder / "clock.so"
        self.set(0)
        compiler = shutil.which("cc") or shutil.which("gcc")
        self.is_there = compiler is not None
        if compiler:
            words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE)]
            subprocess.run([*words, "-ldl"], check=True)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a program has to be started with."""
        if not self.is_there:
            return {}
        return {"LD_PRELOAD": str(self._library), "CLOCK": str(self._file)}

    def set(self, ahead_s: int) -> None:
        """Go so many seconds ahead of the machine's clock, or behind it."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("l", ahead_s))
