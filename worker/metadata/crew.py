"""Processes that work side by side on one thing after the other, and end with their parent."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, cast

from worker.errors import WorkerError

LOOK_S = 1.0
Say = Callable[[Any], None]
Work = Callable[[Any, Say], None]


class Failed(NamedTuple):
    """What a process couldn't go on for; its error is raised where the crew is led."""

    error: Exception


DONE = "done"


def side_by_side(
    begin: Callable[[], Work], tasks: Iterator[Any], *, jobs: int, hear: Callable[[Any], None]
) -> None:
    """Have tasks done by `jobs` processes; with one, by this.

    Each process calls `begin`, and what that gives with each of its tasks and a function by which
    it says things, which `hear` is told, and None each second in which nothing was said. Tasks are
    asked for one by one. Raises what a process raised, and `WorkerError` where one ended that
    shouldn't have.
    """
    if jobs == 1:
        work = begin()
        for task in tasks:
            work(task, hear)
        return
    crew: dict[Connection, BaseProcess] = {}
    try:
        while len(crew) < jobs and (task := next(tasks, None)) is not None:
            hand, process = _started(begin)
            crew[hand] = process
            with _there(process):
                hand.send(task)
        while crew:
            _listen(crew, tasks, hear)
    finally:
        for process in crew.values():
            process.terminate()
        for process in crew.values():
            process.join()


def _listen(
    crew: dict[Connection, BaseProcess], tasks: Iterator[Any], hear: Callable[[Any], None]
) -> None:
    heard = cast(list[Connection], wait(list(crew), LOOK_S))
    if not heard:
        hear(None)
    for hand in heard:
        with _there(crew[hand]):
            said = hand.recv()
        if isinstance(said, Failed):
            raise said.error
        if said != DONE:
            hear(said)
        elif (task := next(tasks, None)) is not None:
            with _there(crew[hand]):
                hand.send(task)
        else:
            hand.close()
            crew.pop(hand).join()


@contextmanager
def _there(process: BaseProcess) -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        process.join()
        raise WorkerError(
            f"a process that read ended (exit code {process.exitcode}; -9 is a kill, such as for "
            "want of memory): the same command goes on; --jobs takes fewer"
        ) from error


def _started(begin: Callable[[], Work]) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, begin), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _serve(hand: Connection, begin: Callable[[], Work]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    with suppress(EOFError, ConnectionError):  # the parent has ended
        try:
            work = begin()
            while True:
                work(hand.recv(), hand.send)
                hand.send(DONE)
        except (WorkerError, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            hand.send(Failed(error))
