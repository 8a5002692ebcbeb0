"""doivec's programs as processes that stand still where they are told to: a kill comes just there.

Processes are forked from one that has torch loaded already: a start takes no seconds then.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from tests.support.servers import wait_until
from worker.model.embedder import Embedder

STANDS_S = 1.0  # between the trap and the stop, unless it was killed there
ILL, POISON = "ill", "poison"
# Where a program may be stopped, before the call or after it: its named steps.
POINTS = {
    "claim": "worker.ledger.ledger:Ledger.claim",
    "read": "worker.store.server:ServerStore.read",
    "embed": "worker.model.embedder:Embedder.encode",
    "upsert": "worker.store.server:ServerStore.upsert",
    "settle": "worker.ledger.ledger:Ledger.settle",
    "open": "worker.ledger.ledger:Ledger.open",
    "accept": "worker.ledger.ledger:Ledger.accept",
    "seal": "worker.ledger.ledger:Ledger.seal",
    "survey": "worker.completion:Completion.survey",
    "look up": "worker.metadata.resolver:Resolver._page",
}
STEPS = {
    "worker": ("claim", "read", "embed", "upsert", "settle"),
    "producer": ("open", "accept", "seal"),
    "resolver": ("survey", "look up", "open", "accept", "seal"),
}
PRELOADED = (
    *("tests.faults.children", "worker.tasks", "worker.model.forward", "worker.cli.commands"),
    *("worker.completion", "trainer.cli.commands", "trainer.promotion.samples"),
    *("worker.store.server", "grpc._channel", "worker.app", "kombu.transport.redis"),
)
GREEDY = "ASK_FOR_MEMORY"  # in a program's environment: it keeps no freed memory to use again
HASTY = "DO_NOT_WAIT"  # in a worker's environment: it doesn't wait for what Qdrant writes
AHEAD = "CLOCK_AHEAD_S"  # in a program's environment: its clock is ahead by so many seconds
context = multiprocessing.get_context("forkserver")
# By name, since what needs torch imports it late.
context.set_forkserver_preload(list(PRELOADED))


def preload(*modules: str) -> None:
    """Have processes forked from one that has more modules loaded, if none was forked yet."""
    context.set_forkserver_preload([*PRELOADED, *modules])


M_MMAP_THRESHOLD, GREEDY_BYTES = -3, 16384  # of glibc: what is larger is mapped by itself


class Point(NamedTuple):
    """Just before or after a step of a program, of whichever process of it comes there first."""

    program: str
    step: str
    when: str

    def __str__(self) -> str:
        return f"{self.program} {self.when} {self.step}"


class Trap:
    """Stops the first process that comes to a point; a file of the point's name arms it.

    While workers are `ill` they can't embed a text with the word `POISON` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "traps"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sprung = self.folder / "sprung"

    @contextmanager
    def ill(self) -> Iterator[None]:
        """Workers are ill for as long as the body runs."""
        file = self.folder / ILL
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    def set(self, point: Point) -> None:
        """Arm it."""
        self._sprung.unlink(missing_ok=True)
        (self.folder / str(point)).touch()

    def sprung(self) -> int | None:
        """The id of the process that stands there; None where none has come yet."""
        try:
            pid = int(self._sprung.read_text() or 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if state.startswith("T") else None

    def clear(self) -> None:
        """Disarm it; who stands there goes on."""
        for armed in self.folder.iterdir():
            if armed not in {self._sprung, self.folder / ILL}:
                armed.unlink(missing_ok=True)
        if self._sprung.exists():  # whoever sprang it stands, or is about to
            deadline = time.monotonic() + STANDS_S
            while not (pid := self.sprung()) and time.monotonic() < deadline:
                time.sleep(0.01)
            if pid:
                os.kill(pid, signal.SIGCONT)
        self._sprung.unlink(missing_ok=True)


class Child:
    """A program as a process of its own; `words` are its arguments."""

    def __init__(
        self,
        program: str,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        traps: Path,
    ) -> None:
        self.program = program
        self.log = log
        log.touch()
        arguments = (program, list(words), dict(environment), str(log), str(traps))
        self.process: BaseProcess = context.Process(target=_run, args=arguments)
        self.process.start()

    @property
    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.join()

    def ended(self, timeout_s: float = 60.0) -> int:
        """Its exit code, once it has ended."""
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, f"{self.program} hangs\n{self.said}"
        assert "Traceback" not in self.said, self.said
        return self.process.exitcode

    def ready(self) -> None:
        """Wait until a worker takes batches."""
        wait_until(
            lambda: "ready" in self.said, while_true=self.process.is_alive, what=lambda: self.said
        )


def forked(
    do: Callable[..., None], log: Path, *arguments: Any, environment: Mapping[str, str]
) -> BaseProcess:
    """A function in a process of its own, which speaks to a log."""
    log.touch()
    process = context.Process(target=_do, args=(do, str(log), dict(environment), arguments))
    process.start()
    return process


def _do(
    do: Callable[..., None], log: str, environment: dict[str, str], arguments: Sequence[Any]
) -> None:
    os.environ.update(environment)
    _speak_to(log)
    do(*arguments)


def _run(program: str, words: list[str], environment: dict[str, str], log: str, traps: str) -> None:
    os.environ.update(environment)
    _speak_to(log)
    _move_clock(float(os.environ.get(AHEAD, "0")))
    if os.environ.get(GREEDY):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, GREEDY_BYTES)
    if os.environ.get(HASTY):
        _wait_for_nothing()
    for step in STEPS.get(program, ()):
        _install(program, step, Path(traps))
    _poison(Path(traps))
    name = "trainer" if program == "trainer" else "worker"
    sys.argv = [f"doi-{name}", *words]
    importlib.import_module(f"{name}.cli.commands").main(words)


def _move_clock(ahead_s: float) -> None:
    """Let all modules of this process go by a clock that is so far ahead of the machine's.

    All but gRPC's: they tell its core, which has the machine's, until when to wait.
    """
    real, machines = time.time, SimpleNamespace(**vars(time))

    def moved() -> float:
        return real() + ahead_s

    for module in list(sys.modules.values()) if ahead_s else ():
        own = dict(vars(module))
        if own.get("__name__", "").startswith("grpc") and own.get("time") is time:
            setattr(module, "time", machines)  # noqa: B010 - any module's
        for name in [name for name, value in own.items() if value is real]:
            setattr(module, name, moved)


def _wait_for_nothing() -> None:
    connection = importlib.import_module("worker.store.connection").Connection
    call = connection.call

    def hasty(self: Any, method: Any, request: Any) -> Any:
        if hasattr(request, "wait"):
            request.wait = False
        return call(self, method, request)

    connection.call = hasty


def _install(program: str, step: str, traps: Path) -> None:
    module, _, path = POINTS[step].partition(":")
    owner, _, name = path.partition(".")
    held = getattr(importlib.import_module(module), owner)
    method = getattr(held, name)

    @wraps(method)
    def stopping(*arguments: Any, **more: Any) -> Any:
        _stop_at(traps, Point(program, step, "before"))
        answer = method(*arguments, **more)
        _stop_at(traps, Point(program, step, "after"))
        return answer

    setattr(held, name, stopping)


def _poison(traps: Path) -> None:
    method = Embedder.encode

    @wraps(method)
    def touchy(self: Embedder, texts: Sequence[str], *more: Any) -> Any:
        if any(POISON in text for text in texts) and (traps / ILL).exists():
            raise RuntimeError("index out of range in self")
        return method(self, texts, *more)

    Embedder.encode = touchy  # type: ignore[method-assign] - as a broken device would


def _stop_at(traps: Path, point: Point) -> None:
    """Stand still where the trap is set here, and this process is the first."""
    try:
        (traps / str(point)).rename(traps / "sprung")
    except FileNotFoundError:
        return
    (traps / "sprung").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0)  # the signal is taken between two lines


def _speak_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
