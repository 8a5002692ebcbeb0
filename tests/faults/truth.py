"""What a collection must hold, by what was given and by the order that the ledger gave it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.document import GIVEN, METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.model import collection_name, render
from worker.ledger.kept import End
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.model.registry import Registry
from worker.store.names import version_in
from worker.store.protocol import VectorStore

LOWEST_COSINE = 0.9995
Fields = dict[str, Any]
Said = tuple[int, Document]


class Truth:
    """What was said of each DOI, and when: heard from the ledger, held against the store.

    `looked_up` are the fields that the resolver's index has, by DOI.
    """

    def __init__(self, registry: Registry, *, looked_up: Mapping[str, Fields]) -> None:
        self._registry = registry
        self._embedders: dict[str, Embedder] = {}
        self._looked_up = looked_up
        self._said: dict[str, list[Said]] = defaultdict(list)
        self._jobs: set[str] = set()

    def hear(self, ledger: Ledger, given: Mapping[str, Sequence[Fields]]) -> None:
        """Take in what came since; each job must have ended, and hold what was `given` to it.

        `given` has the records of each source by its name, or by that of its job.
        """
        whole: set[str] = set()
        for name in ledger.every_job():
            job = ledger.job(name)
            assert job.settled == job.accepted, f"not each record ended once: {job}"
            assert job.dead == job.cancelled == 0, f"{job}"
            if name in self._jobs:
                continue
            self._jobs.add(name)
            batches = list(ledger.kept(name))
            assert {batch.end for batch in batches} <= {End.SETTLED}, f"{job}: {batches}"
            rows = [(b.sequence, document) for b in batches for document in b.documents]
            assert len(rows) == job.accepted, f"{len(rows)} kept of {job}"
            for sequence, document in rows:
                self._said[document.doi].append((sequence, document))
            source = name if name in given else job.source
            if source in given and _merged(rows) == _told(given[source]):
                whole.add(source)
        missing = given.keys() - whole
        assert not missing, f"no job holds all of {missing}"

    def expected(self, tombstones: Mapping[str, int]) -> dict[str, Fields]:
        """The fields of each DOI that must be there; those looked up where nobody gave them."""
        found: dict[str, Fields] = {}
        for doi, said in self._said.items():
            buried = tombstones.get(point_id(doi), 0)
            own = [(s, d) for s, d in said if s > buried and d.source == GIVEN]
            if own:
                found[doi] = {"doi": doi, **_latest(own)}
        return found

    def check(self, ledger: Ledger, store: VectorStore, *, alias: str) -> None:
        """The live collection holds what it must, each with its vector, and nothing else."""
        live = store.live(alias)
        assert live, "the alias is gone"
        assert store.collections(alias) == [live], store.collections(alias)
        ids = {point_id(doi): doi for doi in self._said}
        tombstones = ledger.buried(list(ids))
        expected = self.expected(tombstones)
        there = store.points(live, list(ids))
        assert set(store.ids(live)) == {point_id(doi) for doi in expected}, (
            f"missing {[d for d in expected if point_id(d) not in there]}, unexpected "
            f"{sorted(set(store.ids(live)) - {point_id(doi) for doi in expected})}"
        )
        assert store.count(live) == len(expected)
        for doi, fields in expected.items():
            payload, _ = there[point_id(doi)]
            found = {n: payload[n] for n in ("doi", *METADATA_FIELDS) if n in payload}
            possible = {**self._looked_up.get(doi, {}), **fields}
            assert fields.items() <= found.items() <= possible.items(), (
                f"{found}, not {fields} (with {possible} looked up)\n"
                f"{payload}\n{self._said[doi]}, buried at {tombstones.get(point_id(doi))}"
            )
        self._check_vectors(there.values(), live=live, alias=alias)

    def lacking(self, found: Iterable[tuple[str, Fields]]) -> list[str]:
        """The DOIs that have not all that the index knows of them."""
        return [d for d, fields in found if not self._looked_up.get(d, {}).keys() <= fields.keys()]

    def _check_vectors(
        self, points: Iterable[tuple[Fields, NDArray[np.float32]]], *, live: str, alias: str
    ) -> None:
        path, manifest = self._registry.get(version_in(alias, live))
        assert live == collection_name(alias, manifest.version), "another model's collection"
        if live not in self._embedders:
            self._embedders[live] = Embedder.load(path, threads=1)
        rows = list(points)
        documents = [
            Document(doi=p["doi"], **{n: p[n] for n in METADATA_FIELDS if n in p}) for p, _ in rows
        ]
        texts = [render(document, manifest.templates) or "" for document in documents]
        vectors = self._embedders[live].encode(texts)
        for (payload, vector), document, own in zip(rows, documents, vectors, strict=True):
            cosine = float(np.dot(vector, own))
            assert cosine > LOWEST_COSINE, f"{payload}: its vector is another's ({cosine})"
            assert payload["content_hash"] == document.content_hash, payload


def _latest(said: Sequence[Said]) -> Fields:
    """Of each field what was given last, by a person; only where none did, what was added."""
    ranked: dict[str, tuple[tuple[bool, int], Any]] = {}
    for sequence, document in said:
        for name, value in document.metadata.items():
            rank = (document.source_of(name) == GIVEN, sequence)
            if name not in ranked or rank > ranked[name][0]:
                ranked[name] = (rank, value)
    return {name: value for name, (_, value) in ranked.items()}


def _merged(rows: Iterable[Said]) -> dict[str, Fields]:
    found: dict[str, Fields] = defaultdict(dict)
    for _, document in sorted(rows, key=lambda row: row[0]):
        found[document.doi] |= document.metadata
    return dict(found)


def _told(given: Iterable[Fields]) -> dict[str, Fields]:
    found: dict[str, Fields] = defaultdict(dict)
    for row in given:
        found[row["doi"]] |= {name: value for name, value in row.items() if name != "doi"}
    return dict(found)
