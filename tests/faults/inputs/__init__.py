"""Fuzzed input for all that reads from outside; see `tests.faults.inputs.bench`."""

from tests.faults.inputs.targets import fuzz

__all__ = ["fuzz"]
