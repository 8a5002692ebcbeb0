"""What a worker did when: spans of each batch's steps, as Chrome trace events."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Trace:
    """Appends a span per step to a file that chrome://tracing and Perfetto read; off without one.

    The format is the JSON array of "complete" events of the Trace Event Format (Google, 2016),
    whose closing bracket is optional; times are microseconds since the epoch.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("a", buffering=1) if path else None
        if self._file and self._file.tell() == 0:
            self._file.write("[\n")

    @contextmanager
    def span(self, name: str, **arguments: Any) -> Iterator[None]:
        """Record how long the body took, under `name`."""
        if self._file is None:
            yield
            return
        start_us = time.time_ns() / 1000
        try:
            yield
        finally:
            event = {
                "name": name,
                "ph": "X",
                "ts": start_us,
                "dur": time.time_ns() / 1000 - start_us,
                "pid": os.getpid(),
                "tid": threading.get_native_id(),
                "args": arguments,
            }
            self._file.write(json.dumps(event) + ",\n")

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
