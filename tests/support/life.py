"""A collection's life under way: workers, ingest, deletions and readers, while models change."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import normalize, point_id
from schemas.model import render
from schemas.search import Hit
from tests.support.deployment import ALIAS, Deployment
from tests.support.paths import DOIS as EXAMPLE_DOIS
from tests.support.servers import wait_until
from trainer.bootstrap import open_promoter
from trainer.promotion.promote import Promoter
from worker import bootstrap
from worker.model.embedder import Embedder
from worker.model.registry import Registry

DOIS = [normalize(doi) for doi in EXAMPLE_DOIS]
LOWEST_COSINE = 0.9995
JOBS = ("writer", "plain_reader", "own_reader")


def record(doi: str, *, edition: int = 0) -> Document:
    """A record of a DOI with metadata; every eighth is bare."""
    if hash_of(doi) % 8 == 0:
        return Document(doi=doi)
    return Document(doi=doi, title=f"On {doi}", year=2000 + edition, venue="Journal of Tests")


def hash_of(doi: str) -> int:
    """A small number that a DOI always has."""
    return int(point_id(doi)[:4], 16)


class Silent:
    """A watcher that only remembers the steps."""

    def __init__(self, life: "Life | None" = None) -> None:
        self._life = life
        self.steps: list[str] = []

    def step(self, name: str, words: str) -> None:
        assert words
        self.steps.append(name)
        if self._life:
            self._life.step = f"{name} at {time.time()}"

    def progress(self, done: int, total: int) -> None:
        assert 0 <= done <= total

    def warn(self, words: str) -> None:
        assert words


class Life:
    """What is known to be stored, and everything that goes on at the same time."""

    def __init__(self, deployment: Deployment, *, models: Path) -> None:
        self.deployment = deployment
        self.registry = Registry(models)
        self.known: dict[str, Document] = {}
        self.violations: list[str] = []
        self.step = ""
        self.answers: Counter[str] = Counter()  # by reader, and by the model of the answer
        self._embedders: dict[str, Embedder] = {}
        self._guard = threading.Lock()
        self._deleting, self._deleted = 0, 0  # records whose deletion has begun, and ended

    def ingest(self, documents: Sequence[Document]) -> str:
        """Queue records and wait until they have settled; they are known from then on."""
        settings = self.deployment.settings
        with bootstrap.connect(settings) as client:
            given = [{"doi": d.doi, **d.metadata} for d in documents]
            job = client.producer.enqueue(given)
        settled = self.deployment.settled(job)
        assert settled.dead == 0, settled
        with self._guard:
            self.known.update((d.doi, d) for d in documents)
        return job

    def delete(self, dois: Sequence[str]) -> None:
        """Remove records; nobody looks for them any more before that begins."""
        with self._guard:
            for doi in dois:
                self.known.pop(doi, None)
            self._deleting += len(dois)
        with bootstrap.connect(self.deployment.settings) as client:
            assert all(was is not None for _, was in bootstrap.delete(client, dois))
        with self._guard:
            self._deleted += len(dois)

    def version(self, collection: str) -> tuple[Embedder, tuple[str, ...]]:
        """The model of a collection."""
        path, manifest = self.registry.get(collection.rpartition("-")[2])
        if collection not in self._embedders:
            self._embedders[collection] = Embedder.load(path, threads=1)
        return self._embedders[collection], manifest.templates

    def vectors(self, collection: str, documents: Sequence[Document]) -> NDArray[np.float32]:
        """What a collection must hold for these records."""
        embedder, templates = self.version(collection)
        texts = [render(document, templates) for document in documents]
        assert None not in texts
        return embedder.encode([text for text in texts if text is not None])

    @contextmanager
    def promoter(self) -> Iterator[Promoter]:
        """A promoter on the same deployment."""
        with open_promoter(self.deployment.settings, command="promote") as made:
            yield made

    @contextmanager
    def going_on(self, *jobs: str) -> Iterator[None]:
        """All of `JOBS`, or those named, while the body runs; what a reader misses fails it."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._run, args=(getattr(self, f"_{job}"), stop), daemon=True)
            for job in jobs or JOBS
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive(), thread
        for job in set(jobs or JOBS) - {"writer"}:
            assert self.answers[job] > 0, f"{job} had no answer at all"
        assert not self.violations, "\n".join(self.violations[:10])

    def check(self) -> None:
        """The live collection has the known records, each with its vector, and no others."""
        with self.deployment.qdrant_client() as client:
            aliases = {a.alias_name: a.collection_name for a in client.get_aliases().aliases}
            live = aliases[ALIAS]
            assert aliases == {ALIAS: live, live.replace("-", "@"): live}
            known = [d for _, d in sorted(self.known.items())]
            ids = [point_id(d.doi) for d in known]
            assert self.deployment.ids() == set(ids)
            points = {str(p.id): p for p in _retrieve(client, live, ids)}
        expected = self.vectors(live, known)
        for document, vector in zip(known, expected, strict=True):
            point = points[point_id(document.doi)]
            payload = point.payload or {}
            assert payload["content_hash"] == document.content_hash, f"{payload}, not {document}"
            assert float(np.dot(vector, np.asarray(point.vector))) > LOWEST_COSINE

    def _run(self, job: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            job(stop)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            self.violations.append(f"{job.__name__}: {error!r} {error}")

    def _some(self, chosen: random.Random) -> Document:
        with self._guard:
            return chosen.choice(list(self.known.values()))

    def _is_whole(self, answer: Sequence[object], k: int, deleted: int) -> bool:
        """Whether an answer has `k` hits, begun when so many records had been deleted.

        Qdrant finds first and reads what it found then: what is deleted between drops out.
        """
        with self._guard:
            return k - (self._deleting - deleted) <= len(answer) <= k

    def _plain_reader(self, stop: threading.Event) -> None:
        chosen = random.Random(1)
        with self.deployment.qdrant_client() as client:
            while not stop.is_set():
                document, deleted = self._some(chosen), self._deleted
                i = point_id(document.doi)
                try:
                    found = client.query_points(ALIAS, query=i, limit=5, with_vectors=True).points
                    own = client.retrieve(ALIAS, [i])
                except UnexpectedResponse as error:
                    if document.doi in self.known:  # else deleted just now
                        self.violations.append(f"{document}: {error}: {self._where(client, i)}")
                    continue
                self.answers["plain_reader"] += 1
                if document.doi in self.known and not (own and self._is_whole(found, 5, deleted)):
                    self.violations.append(f"{document.doi}: {len(own)} own, {len(found)} found")
                vectors = np.array([p.vector for p in found])
                documents = [_document(p.payload or {}) for p in found]
                if not self._model_of(documents, lambda _, v: _is_close(v, vectors)):
                    self.violations.append(f"{document.doi}: {found}: the vectors of no one model")

    def _where(self, client: QdrantClient, point: str) -> str:
        """Which collections have a point, for whoever has to find out why one hadn't."""
        names = sorted(c.name for c in client.get_collections().collections)
        aliases = [(a.alias_name, a.collection_name) for a in client.get_aliases().aliases]
        points = {name: client.retrieve(name, [point]) for name in names}
        return f"{time.time()} {points}, {aliases}, step {self.step}"

    def _own_reader(self, stop: threading.Event) -> None:
        chosen = random.Random(2)
        with bootstrap.open_searcher(self.deployment.settings) as searcher:
            while not stop.is_set():
                document, deleted = self._some(chosen), self._deleted
                hits = searcher.search(text=f"On {document.doi}", k=3, all_kinds=True)
                is_whole = self._is_whole(hits, 3, deleted)
                if not is_whole or not all(-1 <= hit.score <= 1.0001 for hit in hits):
                    self.violations.append(f"{document.doi}: {hits}")
                self._compare(f"On {document.doi}", hits)
                deleted = self._deleted
                similar = (
                    searcher.search(document.doi, k=3, all_kinds=True)
                    if document.doi in self.known
                    else []
                )
                if document.doi in self.known and not self._is_whole(similar, 3, deleted):
                    self.violations.append(f"{document.doi}: {similar}")

    def _compare(self, text: str, hits: Sequence[Hit]) -> None:
        """All scores of an answer are those of one model."""
        scores = [hit.score for hit in hits]

        def agrees(embedder: Embedder, vectors: NDArray[np.float32]) -> bool:
            return np.allclose(vectors @ embedder.encode([text])[0], scores, atol=2e-3)

        name = self._model_of([Document(doi=hit.doi, **hit.metadata) for hit in hits], agrees)
        if name is None:
            self.violations.append(f"{text}: {hits}: the scores of no one model")
        else:
            self.answers["own_reader"] += 1
            self.answers[name] += 1

    def _model_of(
        self, documents: Sequence[Document], agrees: Callable[[Embedder, NDArray[np.float32]], bool]
    ) -> str | None:
        """The collection whose model's vectors of these records agree with an answer."""
        for version in self.registry.versions():
            name = f"{ALIAS}-{version[:16]}"
            embedder, templates = self.version(name)
            texts = [render(document, templates) for document in documents]
            if None in texts:
                continue
            if agrees(embedder, embedder.encode([t for t in texts if t is not None])):
                return name
        return None

    def _writer(self, stop: threading.Event) -> None:
        chosen, edition = random.Random(3), 0
        pool = [f"10.5555/new.{n}" for n in range(100_000)]
        while not stop.is_set():
            edition += 1
            new = [record(doi) for doi in pool[edition * 10 : edition * 10 + 10]]
            old = [self._some(chosen) for _ in range(5)]
            changed = {d.doi: record(d.doi, edition=edition) for d in old if not d.is_bare}
            self.ingest([*new, *changed.values()])
            self.delete([new[0].doi])


def _is_close(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    return one.shape == other.shape and np.allclose(one, other, atol=2e-3)


def _document(payload: Mapping[str, Any]) -> Document:
    fields = {name: payload[name] for name in METADATA_FIELDS if name in payload}
    return Document(doi=payload["doi"], **fields)


def _retrieve(client: QdrantClient, collection: str, ids: Sequence[str]) -> Iterator[object]:
    for start in range(0, len(ids), 500):
        yield from client.retrieve(
            collection, list(ids[start : start + 500]), with_payload=True, with_vectors=True
        )


def registered(deployment: Deployment, model: Path, templates: Sequence[str], name: str) -> str:
    """Register a model in the deployment's registry; returns its version."""
    registry = Registry(deployment.settings.data_dir / "models")
    return registry.register(model, name=name, templates=templates).version


def started(deployment: Deployment, *, workers: int) -> None:
    """Start workers, and wait until each takes batches."""
    for _ in range(workers):
        worker = deployment.start_worker()
        wait_until(
            lambda w=worker: "ready" in w.words,
            while_true=lambda w=worker: w.process.poll() is None,
            what=lambda w=worker: w.words,
        )
