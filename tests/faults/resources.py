"""What programs and servers live on runs out for a while, by seed: memory, disks, files, the clock.

While it lacks, lists are queued, worked off and deleted, and titles looked up; then it is there
again. Who died of it is started again, as a supervisor does; everything must be as if nothing had
been.
"""

import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.faults import bench, edge
from tests.faults.bench import DOIS, Bench
from tests.faults.children import AHEAD, GREEDY, Child
from tests.faults.clock import Clock
from tests.faults.lacks import LARGE_MIB, few_files, full, little_memory
from tests.support.disk import Disk, small_disk
from tests.support.servers import RedisServer
from worker.errors import ModelError
from worker.model.registry import Registry

ROUNDS_A_KIND = 10
COMES_S = 4.0  # something lacks until a program says so, but not longer
SHORTEST_S, LONGEST_S = 0.5, 1.5  # ... and then for so long
HOUR_S = 3600
DISKS = ("redis", "qdrant", "data", "edge")
LEFT_KIB = (0, 4, 100, 1000)
FELT = ("trying again", "giving batch", "memory", "Memory", "OOM", "open files", "MISCONF")
NO_ROOM = ("No space left", "disk is full")
Strike = Callable[[Child], object]  # what is done to a command that was started
Doing = Callable[["Resources", random.Random], AbstractContextManager[Strike]]


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """One round by its seed; it tells what was lacking."""
    with ExitStack() as stack:
        disks: dict[str, Disk] = {}
        with suppress(pytest.skip.Exception):
            for name in DISKS:
                disks[name] = stack.enter_context(small_disk(folder / name, mib=LARGE_MIB))
        clock = Clock(folder)
        redis = RedisServer(folder / "redis", environment=clock.environment)
        made = stack.enter_context(bench.opened(folder, redis=redis))
        yield Resources(made, disks, clock).round


class Resources:
    """Rounds on one deployment."""

    def __init__(self, made: Bench, disks: dict[str, Disk], clock: Clock) -> None:
        self.bench = made
        self.disks = disks
        self.clock = clock
        self._died: list[str] = []
        # As a supervisor does: who was short of memory may end of it later.
        made.tend = self._revive

    def round(self, seed: int) -> list[str]:
        """Let something lack for a while; AssertionError where a promise is broken."""
        chosen = random.Random(f"resources {seed}")
        name = NAMES[seed % len(NAMES)]
        if "disk" in name and not self.disks:
            return [f"{name}: skipped, nothing may be mounted here"]
        if "redis clock" in name and not self.clock.is_there:
            return [f"{name}: skipped, no C compiler is here"]
        if name == EDGE:
            return self._edge(seed, chosen)
        self._revive()
        self._died.clear()
        paths = [self.bench.draw(chosen, name=f"{seed}-{number}.jsonl") for number in range(3)]
        commands = [("queue", str(path)) for path in paths]
        commands.append(("delete", *chosen.sample(DOIS, 12)))
        children = [self.bench.start("producer", *commands[0])]
        time.sleep(chosen.uniform(0, 1))  # the seed's moment
        heard = {worker: len(worker.said) for worker in self.bench.workers}
        with KINDS[name](self, chosen) as strike:
            children += [self.bench.start("producer", *words) for words in commands[1:]]
            resolving = self.bench.start("resolver", "metadata", "resolve")
            for child in (*children, resolving):
                strike(child)
            felt = self._felt((*children, resolving), since=heard)
            time.sleep(chosen.uniform(0, LONGEST_S))  # the seed's moment
        for words, child in zip(commands, children, strict=True):
            self.bench.done("producer", *words, child=child)
        self.bench.resolved(resolving)
        self.bench.check()
        also = [*self._died, *(["programs said so"] if felt else [])]
        return [name, *(f"{name}: {words}" for words in also)]

    def _felt(self, commands: Sequence[Child], *, since: Mapping[Child, int]) -> bool:
        """Whether some program says soon that something lacks."""
        deadline = time.monotonic() + COMES_S
        while time.monotonic() < deadline:
            said = [who.said[since.get(who, 0) :] for who in (*commands, *self.bench.workers)]
            if any(sign in words for words in said for sign in FELT):
                return True
            time.sleep(0.05)
        return False

    def _revive(self) -> None:
        """Start again who has died."""
        for name in ("redis", "qdrant"):
            server = getattr(self.bench, name)
            if not server.is_running:
                server.kill()
                server.start()
                self._died.append(f"{name} died and was started again")
        for worker in list(self.bench.workers):
            if not worker.process.is_alive():
                self.bench.replace(worker)
                self._died.append("a worker died and was started again")

    def _edge(self, seed: int, chosen: random.Random) -> list[str]:
        """An Edge store in the process of a worker, on a disk of its own."""
        folder, logs = self.disks["edge"].path / str(seed), self.bench.folder / f"edge-{seed}"
        logs.mkdir()
        with edge.opened(folder, logs=logs) as made:
            made.queue(chosen)
            time.sleep(chosen.uniform(0, SHORTEST_S))  # the seed's moment
            with full(self.disks["edge"], leaving_kib=chosen.choice(LEFT_KIB)):
                made.queue(chosen)
                time.sleep(chosen.uniform(SHORTEST_S, LONGEST_S))
            made.check()
        shutil.rmtree(folder)
        return [EDGE]


@contextmanager
def redis_memory(made: Resources, chosen: random.Random) -> Iterator[Strike]:
    """Redis takes no more data: its memory is at its limit."""
    with made.bench.deployment.redis_client() as client:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", used + chosen.randrange(200_000))
        yield nobody
        client.config_set("maxmemory", 0)


@contextmanager
def redis_clock(made: Resources, _: random.Random, *, ahead_s: int) -> Iterator[Strike]:
    """Redis's clock jumps, and jumps back."""
    made.clock.set(ahead_s)
    yield nobody
    made.clock.set(0)


@contextmanager
def worker_clock(made: Resources, chosen: random.Random, *, ahead_s: int) -> Iterator[Strike]:
    """A worker's clock is not that of the others."""
    moved = made.bench.replace(chosen.choice(made.bench.workers), **{AHEAD: str(ahead_s)})
    moved.ready()
    yield nobody
    made.bench.replace(moved)


@contextmanager
def server_files(made: Resources, chosen: random.Random, *, name: str) -> Iterator[Strike]:
    """A server can open no more files and take no more connections."""
    with few_files(getattr(made.bench, name).pid, chosen):
        yield nobody


@contextmanager
def worker_files(made: Resources, chosen: random.Random) -> Iterator[Strike]:
    """Workers can open no more files and connections."""
    with ExitStack() as stack:
        for worker in made.bench.workers:
            stack.enter_context(few_files(_pid(worker), chosen))
        yield nobody


@contextmanager
def worker_memory(made: Resources, chosen: random.Random) -> Iterator[Strike]:
    """Workers get no more memory."""
    with ExitStack() as stack:
        for worker in list(made.bench.workers):
            greedy = made.bench.replace(worker, **{GREEDY: "1"})
            greedy.ready()
            stack.enter_context(little_memory(_pid(greedy), chosen))
        yield nobody


@contextmanager
def command_files(_: Resources, chosen: random.Random) -> Iterator[Strike]:
    """Commands can open no more files and connections."""
    with ExitStack() as stack:
        yield lambda child: stack.enter_context(few_files(_pid(child), chosen))


@contextmanager
def server_disk(made: Resources, chosen: random.Random, *, name: str) -> Iterator[Strike]:
    """A server's disk is full."""
    with full(made.disks[name], leaving_kib=chosen.choice(LEFT_KIB)):
        yield nobody


@contextmanager
def registry_disk(made: Resources, chosen: random.Random) -> Iterator[Strike]:
    """The data directory's disk is full while a model is registered."""
    registry = Registry(made.bench.deployment.settings.data_dir / "models")
    known, templates = registry.versions(), [f"{chosen.random()} {{title}}"]
    with full(made.disks["data"], leaving_kib=0):
        yield nobody
        with pytest.raises(ModelError, match="space"):
            registry.retemplate(known[0], templates=templates)
        assert registry.versions() == known, "half a version is one"
    registry.remove(registry.retemplate(known[0], templates=templates).version)


@contextmanager
def index_disk(made: Resources, chosen: random.Random) -> Iterator[Strike]:
    """The disk of an index of titles is full while it is built."""
    source = made.bench.folder / f"known-{chosen.random()}.jsonl"
    shutil.copyfile(made.bench.folder / "known.jsonl", source)
    words = ("metadata", "index", str(source))
    there = {"DOIVEC_METADATA__INDEX": str(made.disks["data"].path / source.stem)}
    with full(made.disks["data"], leaving_kib=0):
        yield nobody
        child = made.bench.start("producer", *words, **there)
        assert child.ended() == 1, child.said
        assert any(sign in child.said for sign in NO_ROOM), child.said
    made.bench.done("producer", *words, **there)


def nobody(_: Child) -> None:
    """No command is struck by itself."""


def _pid(child: Child) -> int:
    assert child.process.pid, "it was not started"
    return child.process.pid


KINDS: dict[str, Doing] = {
    "redis, memory full": redis_memory,
    "qdrant, disk full": partial(server_disk, name="qdrant"),
    "redis, disk full": partial(server_disk, name="redis"),
    "registry, disk full": registry_disk,
    "index of titles, disk full": index_disk,
    "worker, memory full": worker_memory,
    "redis, no more files": partial(server_files, name="redis"),
    "qdrant, no more files": partial(server_files, name="qdrant"),
    "worker, no more files": worker_files,
    "commands, no more files": command_files,
    "redis clock, an hour forward and back": partial(redis_clock, ahead_s=HOUR_S),
    "redis clock, an hour back and forward": partial(redis_clock, ahead_s=-HOUR_S),
    "worker clock, an hour ahead": partial(worker_clock, ahead_s=HOUR_S),
    "worker clock, an hour behind": partial(worker_clock, ahead_s=-HOUR_S),
}
EDGE = "edge, disk full"  # a round of its own: there is one process
NAMES = (*KINDS, EDGE)
ROUNDS = ROUNDS_A_KIND * len(NAMES)
