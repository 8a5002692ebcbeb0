"""A random walk through the ledger: whatever happens in whatever order, the counts are true.

Jobs are accepted, claimed, worked, settled, lost, given back, paused, resumed, cancelled, replayed,
and their records deleted, with a real Redis, a real store and a real model; at the end all that is
left is worked off, and what the ledger counts is compared with what the store holds.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import redis

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import JobState, State
from schemas.model import collection_name
from schemas.record import Record
from tests.support.servers import RedisServer
from tests.support.tiny_model import make_tiny_model
from tests.support.workers import ingestor, work_of
from worker.errors import WorkerError
from worker.ingest.batch import Ingestor
from worker.ingest.settlement import Outcome
from worker.ledger.leases import Leases
from worker.ledger.ledger import Claim, Ledger
from worker.model.embedder import Embedder
from worker.model.loaded import Encoder, Models, Target, Vectors
from worker.settings.ingest import IngestSettings
from worker.settings.servers import QdrantSettings, RedisSettings
from worker.store.opening import open_store
from worker.store.points import record
from worker.store.protocol import VectorStore, Write

DOIS = [f"10.1103/physrevlett.{n}" for n in range(100, 112)]
TITLES = (None, "one title", "another title", "poison")
YEARS = (None, None, 2001, 2002)
SUPPLIED: tuple[dict[str, str], ...] = ({}, {}, {}, {"title": "crossref"}, {"year": "openalex"})
ROUNDS = 500
STEPS = 150
DEEPEST = 2
BATCH_RECORDS = 4
MOVES = {
    "accept": 5,
    "claim": 20,
    "work": 20,
    "settle": 12,
    "settle_stale": 3,
    "lose": 4,
    "release": 6,
    "forget": 2,
    "pause": 1,
    "resume": 2,
    "cancel": 2,
    "replay": 3,
    "delete": 2,
    "heal": 1,
    "fall_ill": 1,
    "again": 2,
}


class Held(NamedTuple):
    """A batch in the hands of a worker; what came of it once it is worked."""

    claim: Claim
    outcome: Outcome | None


class Touchy:
    """A real encoder that can't bear a text while it is ill; meanwhile, other things happen."""

    def __init__(self, encoder: Encoder, *, meanwhile: Callable[[], None]) -> None:
        self._encoder = encoder
        self._meanwhile = meanwhile
        self.is_ill = True

    def encode(self, texts: Sequence[str], _done: object = None) -> Vectors:
        self._meanwhile()
        if self.is_ill and any("poison" in text for text in texts):
            raise RuntimeError("index out of range in self")
        return self._encoder.encode(texts)


class Watched:
    """A real store that remembers what was ever written: ids, and the sequences of their fields."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.written: set[tuple[str, int]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def upsert(self, collection: str, write: Write, *, revisions: Collection[str]) -> None:
        self._store.upsert(collection, write, revisions=revisions)
        for i, stored in self._store.read(collection, list(write.ids)).items():
            stamps = {stamp.sequence for stamp in stored.stamps.values()}
            self.written |= {(i, sequence) for sequence in (stored.sequence, *stamps)}


class Walk:
    """One walk, from a seed; `run` raises AssertionError where a count is not true."""

    def __init__(
        self,
        ledger: Ledger,
        store: VectorStore,
        encoder: Encoder,
        *,
        impatient: Ledger,
        client: redis.Redis,
        seed: int,
    ) -> None:
        """`impatient` is the same ledger to a sweep that takes everything for lost at once."""
        self._impatient = impatient
        self._drawn = random.Random(seed)
        self._ledger, self._client = ledger, client
        self._watched = Watched(store)
        self._store = cast(VectorStore, self._watched)
        self._encoder = Touchy(encoder, meanwhile=self._meanwhile)
        self._depth = 0
        self._alias = f"w{seed}"
        self._collection = collection_name(self._alias, "0" * 64)
        store.create(self._collection, dimension=32)
        store.publish([self._alias], collection=self._collection)
        self._jobs: dict[str, list[list[Document]]] = {}
        self._held: list[Held] = []
        self._stale: list[Held] = []
        # By job; each record by its sequence and its DOI, of which a job may have several.
        self._ended: dict[str, dict[tuple[int, str], State]] = defaultdict(dict)
        self._given: dict[tuple[int, str], Document] = {}
        self.log: list[str] = []

    def run(self) -> None:
        """Walk, come to an end, and compare."""
        for _ in range(4):
            self._do("accept")
        self._move(STEPS)
        self._finish()
        self._check()

    def _move(self, count: int) -> None:
        names, weights = list(MOVES), list(MOVES.values())
        for name in self._drawn.choices(names, weights, k=count):
            self._do(name)

    def _meanwhile(self) -> None:
        """What other workers do between this one's look at the store and its writing."""
        if self._depth < DEEPEST and self._drawn.random() < 0.4:
            self._depth += 1
            self._move(self._drawn.randint(1, 6))
            self._depth -= 1

    def _do(self, name: str) -> None:
        self.log.append(f"{'.' * self._depth}{name}")
        try:
            getattr(self, f"_{name}")()
        except WorkerError as error:
            self.log.append(f"{name}: {error}")

    @property
    def _worker(self) -> Ingestor:
        return ingestor(
            self._ledger,
            self._store,
            alias=self._alias,
            models=Models(
                lambda name: Target(name, ("{title} {doi}", "{doi}"), self._encoder), idle_s=60.0
            ),
            leases=Leases(self._ledger, lease_s=60.0),
        )

    def _any_job(self) -> str | None:
        return self._drawn.choice(list(self._jobs)) if self._jobs else None

    def _take(self, *, worked: bool) -> Held | None:
        """A batch in hand, out of the list of those."""
        found = [held for held in self._held if (held.outcome is not None) == worked]
        if not found:
            return None
        held = self._drawn.choice(found)
        self._held.remove(held)
        return held

    def _accept(self) -> None:
        name = f"job{len(self._jobs)}"
        dois = self._drawn.sample(DOIS, self._drawn.randint(1, len(DOIS)))
        batches = [
            [self._draw(doi) for doi in dois[n : n + BATCH_RECORDS]]
            for n in range(0, len(dois), BATCH_RECORDS)
        ]
        if self._drawn.random() < 0.5:  # some DOIs once more, in a later batch
            batches.append([self._draw(doi) for doi in dois[:2]])
        self._ledger.open(name, identity=None, source="walk", batch_records=BATCH_RECORDS)
        for number, batch in enumerate(batches):
            again = {d.doi for b in batches[:number] for d in b}.intersection(d.doi for d in batch)
            assert self._ledger.accept(name, number, batch, again=again).verdict == "accepted"
        assert self._ledger.seal(name, len(batches), repeated=0, invalid=0)
        self._jobs[name] = batches

    def _draw(self, doi: str) -> Document:
        choose = self._drawn.choice
        document = Document(doi=doi, title=choose(TITLES), year=choose(YEARS))
        supplied = {n: s for n, s in choose(SUPPLIED).items() if n in document.metadata}
        return document.model_copy(update={"supplied": supplied})

    def _again(self) -> None:
        """The same list once more, from its first batch."""
        if name := self._any_job():
            self._ledger.open(name, identity=None, source="walk", batch_records=BATCH_RECORDS)
            for number, batch in enumerate(self._jobs[name]):
                assert self._ledger.accept(name, number, batch).verdict in {"known", "cancelled"}
            assert self._ledger.seal(name, len(self._jobs[name]), repeated=0, invalid=0)

    def _claim(self) -> None:
        if name := self._any_job():
            number = self._drawn.randrange(self._ledger.job(name).batches)
            if claim := self._ledger.claim(name, number):
                self._held.append(Held(claim, None))

    def _work(self) -> None:
        if held := self._take(worked=False):
            outcome = self._worker._work(held.claim, work_of(held.claim))
            self._held.append(held._replace(outcome=outcome))

    def _settle(self) -> None:
        if held := self._take(worked=True):
            self._settle_one(held)
            self._stale.append(held)

    def _settle_stale(self) -> None:
        """Once more, what was settled already or is another worker's by now."""
        if self._stale:
            held = self._drawn.choice(self._stale)
            before = self._ledger.job(held.claim.batch.job)
            assert held.outcome is not None
            assert self._worker._settle(held.claim, held.outcome) in {"lost", "settled"}
            after = self._ledger.job(held.claim.batch.job)
            assert (before.settled, before.stored) == (after.settled, after.stored)

    def _settle_one(self, held: Held) -> None:
        claim, outcome = held
        assert outcome is not None
        if self._worker._settle(claim, outcome) == "settled":
            sequence = claim.batch.sequence
            self._given |= {(sequence, d.doi): d for d in claim.batch.documents}
            states = outcome.states.items()
            self._ended[claim.batch.job] |= {(sequence, doi): state for doi, state in states}
            stored = {doi for doi, state in states if state is State.STORED}
            said = {(point_id(doi), sequence) for doi in stored}
            assert said <= self._watched.written, "stored is what was written"

    def _lose(self) -> None:
        self._swept()

    def _swept(self) -> list[tuple[str, int]]:
        for member in self._client.zrange("doivec:leases", 0, -1):
            self._client.zadd("doivec:leases", {member: 0})
        return self._impatient.lost(queue_is_empty=True)

    def _release(self) -> None:
        if held := self._take(worked=self._drawn.random() < 0.5):
            self._ledger.release(held.claim, reason="walked away")
            if self._drawn.random() < 0.2:
                self._ledger.cancel(held.claim.batch.job)

    def _forget(self) -> None:
        """A worker is killed."""
        self._take(worked=self._drawn.random() < 0.5)

    def _pause(self) -> None:
        """As many refusals as pause a job, without a batch that settles between them."""
        if name := self._any_job():
            for _ in range(10):
                if claim := self._ledger.claim(name, 0):
                    self._ledger.release(claim, reason="refused")

    def _resume(self) -> None:
        if name := self._any_job():
            self._ledger.resume(name)

    def _cancel(self) -> None:
        if name := self._any_job():
            self._ledger.cancel(name)

    def _replay(self) -> None:
        if name := self._any_job():
            for letter in self._ledger.dead(name):
                self._ended[name].pop((letter.sequence, letter.document.doi), None)
            self._ledger.replay(name)

    def _delete(self) -> None:
        ids = [point_id(doi) for doi in self._drawn.sample(DOIS, 2)]
        self._store.delete(self._collection, ids, below=self._ledger.bury(ids))

    def _heal(self) -> None:
        self._encoder.is_ill = False

    def _fall_ill(self) -> None:
        self._encoder.is_ill = True

    def _finish(self) -> None:
        self._depth = DEEPEST  # nothing happens meanwhile any more
        self._held.clear()
        self._lose()
        for name in self._jobs:
            self._ledger.resume(name)
        for _ in range(20):  # what the sweep queues again is all that there is to do
            for name, number in self._swept():
                if claim := self._ledger.claim(name, number):
                    self._settle_one(Held(claim, self._worker._work(claim, work_of(claim))))

    def _check(self) -> None:
        ids = {point_id(doi): doi for doi in DOIS}
        there = {ids[i]: s for i, s in self._store.read(self._collection, list(ids)).items()}
        for name, batches in self._jobs.items():
            job = self._ledger.job(name)
            ended = Counter(self._ended[name].values())
            assert job.state is JobState.SETTLED, job
            assert job.read == job.accepted + job.repeated + job.invalid
            assert job.settled == job.accepted == sum(map(len, batches))
            ended[State.CANCELLED] = job.accepted - sum(ended.values())
            for state in State:
                assert getattr(job, state) == ended[state], (state, job, ended)
            own = {(stored.sequence, doi) for doi, stored in there.items() if stored.job == name}
            stored = {of for of, state in self._ended[name].items() if state is State.STORED}
            assert own <= stored, "what the store has of a job, the job counts as stored"
            dead = {(letter.sequence, letter.document.doi) for letter in self._ledger.dead(name)}
            assert dead == {of for of, state in self._ended[name].items() if state is State.DEAD}
        self._check_records()
        self._check_leftovers()

    def _check_records(self) -> None:
        """Of each DOI the store has, field by field, what was given last and by whom."""
        taken = {State.STORED, State.UNCHANGED, State.SUPERSEDED}
        ended = (item for states in self._ended.values() for item in states.items())
        ids = {doi: point_id(doi) for doi in DOIS}
        payloads = self._store.payloads(self._collection, list(ids.values()))
        buried = self._ledger.buried(list(ids.values()))
        told: dict[str, Record] = {}
        for (sequence, doi), state in ended:
            if state in taken and sequence > buried.get(ids[doi], 0):
                said = Record.of(self._given[sequence, doi], sequence)
                told[doi] = told[doi].merged(said) if doi in told else said
        for doi, i in ids.items():
            expected = told.get(doi)
            found = record(payloads[i]) if i in payloads else None
            assert _said(found) == _said(expected), f"{doi}: {found}, not {expected}"

    def _check_leftovers(self) -> None:
        for key in self._client.scan_iter("doivec:*"):
            kind = key.decode().split(":")[1]
            assert kind not in {"waiting", "parked", "producing", "oldest", "outstanding"}, key


def _said(found: Record | None) -> dict[str, tuple[Any, str]] | None:
    if found is None:
        return None
    return {n: (found.document.metadata[n], stamp.source) for n, stamp in found.stamps.items()}


@contextmanager
def rounds(folder: Path) -> Iterator[Callable[[int], list[str]]]:
    """A walk by its seed, on Qdrant Edge and a Redis of its own; it tells each step."""
    with ExitStack() as stack:
        server = RedisServer(folder / "redis")
        server.start()
        stack.callback(server.stop)
        ledger, impatient = (
            stack.enter_context(
                closing(
                    Ledger.connect(
                        RedisSettings(url=server.url), options=IngestSettings(lease_s=lease_s)
                    )
                )
            )
            for lease_s in (60.0, 0.001)
        )
        client = stack.enter_context(redis.Redis.from_url(server.url))
        encoder = Embedder.load(make_tiny_model(folder / "model"), threads=1)

        def one(seed: int) -> list[str]:
            client.flushall()
            with (
                TemporaryDirectory(dir=folder) as data,
                closing(open_store(QdrantSettings(), data_dir=Path(data))) as store,
            ):
                walk = Walk(ledger, store, encoder, impatient=impatient, client=client, seed=seed)
                try:
                    walk.run()
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{' '.join(walk.log)}") from error
            return [step.lstrip(".").partition(":")[0] for step in walk.log]

        yield one
