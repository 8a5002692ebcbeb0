"""Processes that end with the process that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    output: int | IO[bytes] | None = None,
    at_parents_death: signal.Signals | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own.

    So Ctrl-C is for the command alone, which then stops its children in order. On Linux the child
    gets the signal `at_parents_death` when the thread that called this ends, however it ends.
    """
    parent = os.getpid()

    def tie() -> None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, at_parents_death)
        if os.getppid() != parent:  # it ended before it could be said
            os._exit(1)

    is_tied = at_parents_death is not None and sys.platform == "linux"
    return subprocess.Popen(  # noqa: S603 - our own command lines
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=tie if is_tied else None,  # noqa: PLW1509
    )


def end(process: subprocess.Popen[bytes], *, timeout_s: float) -> None:
    """End a child in good order; at once where that takes too long, or is interrupted."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
