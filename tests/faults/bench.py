"""A deployment to break, with all that runs in one, and the check that each round ends in."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from schemas.document import METADATA_FIELDS
from schemas.doi import point_id
from tests.faults.children import Child, Trap
from tests.faults.truth import Fields, Truth
from tests.support.deployment import ALIAS, Deployment
from tests.support.servers import QdrantServer, RedisServer, wait_until
from tests.support.tiny_model import make_tiny_model
from worker import bootstrap
from worker.app import QUEUES
from worker.bootstrap import Client
from worker.errors import LedgerUnavailable, StoreUnavailable
from worker.model.registry import Registry
from worker.settings.environment import Settings
from worker.store.opening import open_store
from worker.store.protocol import VectorStore

T = TypeVar("T")
DOIS = [f"10.5555/{kind}.{n}" for kind in ("one", "two", "three") for n in range(80)]
RECORDS = 60  # a list has
REST_TIMEOUT_S = 90.0
ENDS_S = 60.0  # a command, in whatever
PASSES = 5
# What is left of a job that has settled, of what a deployment is, and of who is there.
KEPT = ("job", "jobs", "batch", "accepted", "settled", "rejects", "tombstones", "epoch", "sequence")
ENDING = ("job", "batch", "accepted", "settled", "rejects")  # what goes after the retention time
STANDING = ("deployment", "route", "workers", "worker", "once", "sweeping", "lease", "untaken")
MESSAGES = ("unacked", "unacked_index", "unacked_mutex")  # a killed worker's, given back in time
WAYS: tuple[Callable[[str], str], ...] = (
    *(str, str.upper, lambda doi: f"https://doi.org/{doi.upper()}", lambda doi: f"doi: {doi}"),
)


class Bench:
    """Redis, Qdrant, workers, producers and a resolver, all of which may be killed at any moment.

    `environment` is that of the programs, which may reach the servers by other ways than the
    check does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis: RedisServer,
        qdrant: QdrantServer,
        workers: int = 2,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.redis, self.qdrant = redis, qdrant
        self.deployment = Deployment(
            folder,
            redis=redis,
            qdrant=qdrant,
            model=make_tiny_model(folder / "model"),
            DOIVEC_INGEST__BATCH_RECORDS="16",
            DOIVEC_INGEST__LEASE_S="2",
            DOIVEC_INGEST__SWEEP_S="0.5",
            DOIVEC_METADATA__PAUSE_S="0.2",
        )
        self.environment = {**self.deployment.environment, **(environment or {})}
        self.trap = Trap(folder)
        self.tend: Callable[[], object] = lambda: None  # what starts again who may have died
        self._children = 0
        self._looked_up = {doi: {"title": f"Found: {doi}", "year": 1999} for doi in DOIS[::3]}
        registry = Registry(self.deployment.settings.data_dir / "models")
        self.truth = Truth(registry, looked_up=self._looked_up)
        self._index = folder / "index.sqlite"
        self._fill_index()
        self.given: dict[str, list[Fields]] = {}
        self.workers = [self.start("worker", "run") for _ in range(workers)]
        for worker in self.workers:
            worker.ready()

    def start(self, program: str, *words: str, **more: str) -> Child:
        """A program as a process of its own; `more` is more of its environment."""
        self._children += 1
        if program == "resolver":
            more["DOIVEC_METADATA__INDEX"] = str(self._index)
        return Child(
            program,
            words,
            environment={**self.environment, **more},
            log=self.folder / f"{program}-{self._children}.log",
            traps=self.trap.folder,
        )

    def replace(self, worker: Child, **more: str) -> Child:
        """Kill a worker, and start another one; `more` is more of its environment."""
        worker.kill()
        started = self.start("worker", "run", **more)
        self.workers[self.workers.index(worker)] = started
        return started

    def draw(self, chosen: random.Random, *, name: str) -> Path:
        """A list, as a file; the DOIs are written as people write them."""
        rows = drawn(chosen)
        path = self.folder / name
        self.given[str(path)] = rows
        messy = ({**row, "doi": chosen.choice(WAYS)(row["doi"])} for row in rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in messy))
        return path

    def queued(self, path: Path, child: Child | None = None) -> None:
        """See a list queued, whatever happens to those who do: the command is given again."""
        self.done("producer", "queue", str(path), child=child)

    def resolved(self, child: Child | None = None) -> None:
        """See what the collection lacks looked up: the command is given again until that went."""
        self.done("resolver", "metadata", "resolve", child=child)

    def done(self, program: str, *words: str, child: Child | None = None, **more: str) -> None:
        """See a command end well: it is given again where `child`, which was given it, failed."""
        for _ in range(PASSES):
            if child and self._ended(child) == 0:
                return
            child = self.start(program, *words, **more)
        assert child
        assert self._ended(child) == 0, child.said

    def delete(self, dois: Sequence[str]) -> None:
        """Remove DOIs, again where a server was away meanwhile."""
        self.insist(lambda client: list(bootstrap.delete(client, dois)))

    def insist(self, do: Callable[[Client], T]) -> T:
        """Do something that a person does, again where a server was away meanwhile."""
        error: Exception | None = None
        for _ in range(PASSES):
            try:
                with bootstrap.connect(self.deployment.settings) as client:
                    return do(client)
            except (LedgerUnavailable, StoreUnavailable) as away:
                error = away
                time.sleep(0.2)  # for the server
        raise AssertionError(f"not to be had: {error}")

    def check(self) -> None:
        """All has come to rest, and everything is where it must be, and nothing else."""
        with bootstrap.connect(self.deployment.settings) as client:
            self._rest(client)
            self.truth.hear(client.ledger, self.given)
            self.given.clear()
            settings = client.settings
            with closing(open_store(settings.qdrant, data_dir=settings.data_dir)) as store:
                self.truth.check(client.ledger, store, alias=ALIAS)
                self._check_search(store, settings)
            with bootstrap.auditing(client) as audit:
                findings = [finding for page in audit.look() for finding in page]
                assert not findings, findings
        self._check_leftovers()
        self.tend()
        for worker in self.workers:
            assert worker.process.is_alive(), worker.said

    def check_titles(self) -> None:
        """What the resolver's index knows, and nobody gave, is there."""
        with self.deployment.qdrant_client() as client:
            points = client.scroll(ALIAS, limit=10_000)[0]
        payloads = [point.payload or {} for point in points]
        found = [
            (payload["doi"], {n: payload[n] for n in METADATA_FIELDS if n in payload})
            for payload in payloads
        ]
        untitled = [doi for doi, fields in found if "title" not in fields]
        lacking = self.truth.lacking((d, f) for d, f in found if d in untitled)
        assert not lacking, f"not looked up: {lacking}"

    def close(self) -> None:
        """End the workers."""
        self.trap.clear()
        for worker in self.workers:
            worker.kill()

    def _ended(self, child: Child) -> int:
        deadline = time.monotonic() + ENDS_S
        while child.process.is_alive() and time.monotonic() < deadline:
            self.tend()
            child.process.join(0.05)
        try:
            return child.ended(0)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self._workers_said()])) from error

    def _workers_said(self) -> list[str]:
        alive = {True: "alive", False: "ended"}
        return [f"{alive[w.process.is_alive()]}: {w.said[-3000:]}" for w in self.workers]

    def _rest(self, client: Client) -> None:
        def rests() -> bool:
            jobs = (client.ledger.job(name) for name in client.ledger.every_job())
            self.tend()
            return all(job.settled_at for job in jobs) and not any(
                client.ledger.queue_length(queue) for queue in QUEUES
            )

        wait_until(rests, timeout_s=REST_TIMEOUT_S, what=lambda: self._words(client))

    def _words(self, client: Client) -> str:
        jobs = (client.ledger.job(name) for name in client.ledger.every_job())
        unsettled = [job for job in jobs if not job.settled_at]
        queues = {queue: client.ledger.queue_length(queue) for queue in QUEUES}
        return "\n".join([f"{unsettled}", f"{queues}", *self._workers_said()])

    def _check_search(self, store: VectorStore, settings: Settings) -> None:
        """Each way to write a DOI finds the record's neighbours, which are Qdrant's by its id."""
        live = store.live(ALIAS) or ""
        there = [payload["doi"] for page in store.scan(live, ("doi",)) for _, payload in page]
        doi = min(there, key=lambda doi: doi[::-1])
        with self.deployment.qdrant_client() as client:
            own = client.query_points(ALIAS, query=point_id(doi), limit=5).points
        with bootstrap.open_searcher(settings) as searcher:
            for way in WAYS:
                hits = searcher.search(way(doi), k=5, all_kinds=True)
                scores = [hit.score for hit in hits]
                expected = [point.score for point in own]
                same = len(scores) == len(expected) and np.allclose(scores, expected, atol=1e-3)
                assert same, f"{way(doi)}: {hits}, not {own}"

    def _check_leftovers(self) -> None:
        """No key is left in Redis that should have gone."""
        known = {*KEPT, *STANDING, *MESSAGES}
        with self.deployment.redis_client() as client:

            def stray() -> list[str]:
                keys = [key.decode() for key in client.scan_iter("doivec:*", count=1000)]
                return [key for key in keys if key.split(":")[1] not in known]

            wait_until(lambda: not stray(), timeout_s=10.0, what=lambda: str(stray()))
            for kind in ENDING:
                for key in client.scan_iter(f"doivec:{kind}:*", count=1000):
                    assert client.ttl(key) > 0, f"{key!r} is kept for ever"
            others = {key.decode() for key in client.scan_iter(count=1000)}
            strange = [key for key in others if not key.startswith(("doivec:", "_kombu."))]
            assert not strange, f"no key of doivec's: {strange}"

    def _fill_index(self) -> None:
        source = self.folder / "known.jsonl"
        rows: list[dict[str, Any]] = [{"doi": d, **f} for d, f in self._looked_up.items()]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        child = self.start("resolver", "metadata", "index", str(source))
        assert child.ended() == 0, child.said


def drawn(chosen: random.Random) -> list[Fields]:
    """A list's rows: new records, others of what is there, bare ones, some DOIs twice."""
    rows: list[Fields] = []
    for doi in chosen.sample(DOIS, RECORDS - 6) + chosen.sample(DOIS, 6):
        row: Fields = {"doi": doi}
        if chosen.random() < 0.5:
            row["title"] = f"{chosen.choice(('A', 'Another'))} title {chosen.randrange(9)}"
        if chosen.random() < 0.3:
            row["year"] = chosen.randrange(1900, 2020)
        if chosen.random() < 0.3:
            row["venue"] = f"Journal {chosen.randrange(4)}"
        rows.append(row)
    return rows


@contextmanager
def opened(
    folder: Path, *, workers: int = 2, redis: RedisServer | None = None, **more: str
) -> Iterator[Bench]:
    """A bench on servers of its own, ended with the context; `more` is the programs' environment.

    `redis` is the server to use where it has to be a certain one.
    """
    redis, qdrant = redis or RedisServer(folder / "redis"), QdrantServer(folder / "qdrant")
    with ExitStack() as stack:
        for server in (redis, qdrant):
            stack.callback(server.stop)
            server.start()
        made = Bench(folder, redis=redis, qdrant=qdrant, workers=workers, environment=more)
        stack.callback(made.close)
        yield made
