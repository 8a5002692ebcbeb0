"""A network that fails between the programs and the servers, by seed.

All programs reach Redis and Qdrant (HTTP and gRPC) through proxies. While one of these is slow,
silent, or cuts connections, lists are queued and worked off, records are deleted and titles looked
up; then it is whole again, and everything must be as if nothing had been.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from itertools import product
from pathlib import Path

from tests.faults.bench import DOIS, Bench
from tests.faults.proxy import (
    ANSWERS,
    BANDWIDTH,
    BLACKHOLE,
    BOTH,
    DIRECTIONS,
    KINDS,
    LATENCY,
    LOST_ANSWER,
    Link,
    Toxic,
)
from tests.support.servers import QdrantServer, RedisServer

ROUNDS = 320
TIMEOUT_S = 1.5
SHORTEST_S, LONGEST_S = 0.3, 1.8  # a toxic acts for so long
COMES_S = 10.0
REDIS, HTTP, GRPC = LINKS = ("redis", "qdrant http", "qdrant grpc")
STEPS = ("open", "accept", "seal", "claim", "begin", "settle", "bury")
# Where an answer is lost after the commit: at a step of the ledger, a message, an upsert.
LOST = [(REDIS, step) for step in (*STEPS, "LPUSH", "BRPOP")] + [(GRPC, "upsert")] * 6
UPSERT_BYTES = 3000  # a batch's: its vectors. What is read asks by ids, of 40 bytes each
TRIED = [
    *((link, kind, way) for link, kind, way in product(LINKS, KINDS[:-1], DIRECTIONS)),
    *((link, BLACKHOLE, BOTH) for link in LINKS),
    *((link, LOST_ANSWER, step) for link, step in LOST),
]


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """One round by its seed; it tells what was done on which link."""
    redis, qdrant = RedisServer(folder / "redis"), QdrantServer(folder / "qdrant")
    with ExitStack() as stack:
        for server in (redis, qdrant):
            stack.callback(server.stop)
            server.start()
        ports = (redis.port, qdrant.port, qdrant.grpc_port)
        links = {name: Link(name, port) for name, port in zip(LINKS, ports, strict=True)}
        for link in links.values():
            stack.callback(link.close)
        made = Bench(folder, redis=redis, qdrant=qdrant, environment=_through(links))
        stack.callback(made.close)
        yield Network(made, links).round


class Network:
    """Rounds on one deployment."""

    def __init__(self, made: Bench, links: Mapping[str, Link]) -> None:
        self._bench = made
        self._links = links
        self._scripts = scripts()

    def round(self, seed: int) -> list[str]:
        """Harm what passes for a while; AssertionError where something is not as it must be."""
        chosen = random.Random(f"network {seed}")
        name, kind, way = TRIED[seed % len(TRIED)]
        link = self._links[name]
        link.chosen = chosen
        link.poison(self._toxic(kind, way, chosen))
        if name == HTTP:  # each program asks there when it starts, and then no more
            self._bench.replace(chosen.choice(self._bench.workers))
        paths = [self._bench.draw(chosen, name=f"{seed}-{number}.jsonl") for number in range(2)]
        queued = [self._bench.start("producer", "queue", str(path)) for path in paths]
        deletion = ("delete", *chosen.sample(DOIS, 12))
        deleting = self._bench.start("producer", *deletion)
        resolving = self._bench.start("resolver", "metadata", "resolve")
        self._act(link, chosen.uniform(SHORTEST_S, LONGEST_S))
        link.heal()
        for path, child in zip(paths, queued, strict=True):
            self._bench.queued(path, child)
        self._bench.done("producer", *deletion, child=deleting)
        self._bench.resolved(resolving)
        self._bench.check()
        return sorted(set(link.struck)) or [f"{name}, {kind}, {way}: nothing passed"]

    def _act(self, link: Link, seconds: float) -> None:
        """Let a toxic act for so long, from when something comes to it."""
        deadline = time.monotonic() + COMES_S
        while not link.struck and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(seconds)  # the seed's moment

    def _toxic(self, kind: str, way: str, chosen: random.Random) -> Toxic:
        if kind == LOST_ANSWER:
            return Toxic(kind, ANSWERS, asks=self._looking_for(way))
        size = chosen.choice((100, 2000, 20_000))
        return {
            LATENCY: Toxic(kind, way, seconds=chosen.choice((0.01, 0.1, 0.4))),
            BANDWIDTH: Toxic(kind, way, size=chosen.choice((2000, 20_000, 200_000))),
        }.get(kind, Toxic(kind, way, size=chosen.randrange(size), seconds=chosen.random()))

    def _looking_for(self, step: str) -> Callable[[bytes], str | None]:
        """Tells a question by what it holds."""
        if step == "upsert":
            return lambda data: step if len(data) > UPSERT_BYTES else None
        sign = self._scripts.get(step, step).encode()
        return lambda data: step if sign in data else None


def _through(links: Mapping[str, Link]) -> dict[str, str]:
    return {
        "DOIVEC_REDIS__URL": f"redis://127.0.0.1:{links[REDIS].port}/0",
        "DOIVEC_QDRANT__URL": f"http://127.0.0.1:{links[HTTP].port}",
        "DOIVEC_QDRANT__GRPC_PORT": str(links[GRPC].port),
        "DOIVEC_REDIS__TIMEOUT_S": str(TIMEOUT_S),
        "DOIVEC_QDRANT__TIMEOUT_S": str(TIMEOUT_S),
    }


def scripts() -> dict[str, str]:
    """What Redis calls the ledger's scripts: by what they do."""
    folder = files("worker.ledger") / "lua"
    shared = (folder / "shared.lua").read_text()
    return {
        step: hashlib.sha1((shared + (folder / f"{step}.lua").read_text()).encode()).hexdigest()  # noqa: S324 - Redis's own name
        for step in STEPS
    }
