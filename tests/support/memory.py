"""How much memory reading a file takes, measured in a process of its own."""

import subprocess
import sys

CODE = """
import re, sys
from pathlib import Path
from {module} import read
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings

def peak():
    # Not ru_maxrss: that of a child begins with what its parent had when it was started.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before, count = peak(), 0
try:
    for count, _ in enumerate(read(sys.argv[1], limits=LimitSettings()), start=1):
        pass
except SourceError as error:
    print(error, file=sys.stderr)
print(count, (peak() - before) // 1024)
"""


def reading(module: str, source: str) -> tuple[int, int, str]:
    """How many records `module.read` gives, by how many MiB the process grew, what it said."""
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module), source],
        capture_output=True,
        text=True,
        check=True,
    )
    count, grown = map(int, run.stdout.split())
    return count, grown, run.stderr
