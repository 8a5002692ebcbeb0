"""All benchmarks, one after the other, and the documentation's tables renewed from them."""

import subprocess
import sys

from benchmarks.machine import ROOT

STEPS = (
    ["-m", "benchmarks.reading"],
    ["-m", "benchmarks.embedding"],
    ["-m", "benchmarks.pipeline"],
    ["-m", "benchmarks.pipeline", "--titled"],
    ["-m", "benchmarks.pipeline", "--pinned", "--dois", "10000"],
    ["-m", "benchmarks.scale"],
    ["-m", "benchmarks.training"],
    ["-m", "benchmarks.sizing"],
    ["-m", "benchmarks.life"],
    ["-m", "benchmarks.abstracts"],
    ["-m", "benchmarks.metadata"],
    ["-m", "benchmarks.resolving"],
    ["-m", "benchmarks.gate"],
    ["-m", "benchmarks.memory"],
    ["docs/generate.py"],
)

if __name__ == "__main__":
    for step in STEPS:
        subprocess.run([sys.executable, *step], cwd=ROOT, check=True)
