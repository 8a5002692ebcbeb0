"""What becomes of records, on real stores and a real Redis, with a real (tiny) model."""

import random
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import reduce
from itertools import permutations
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.document import METADATA_FIELDS, Document
from schemas.doi import point_id
from schemas.job import Job, JobState, State
from schemas.model import TEXT_CHARACTERS, collection_name, shorten
from schemas.record import Record
from schemas.search import Filter
from tests.support.servers import QdrantServer, wait_until
from tests.support.workers import ingestor, sweeper, work_of
from worker.errors import ModelError, NoRoom, OutOfMemory, StoreBusy, StoreRejected, Unanswerable
from worker.ingest.batch import Ingestor
from worker.ingest.sweep import Sweeper
from worker.ledger.leases import Leases
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.model.loaded import Deferred, Models, Target
from worker.search import Searcher
from worker.settings.ingest import IngestSettings
from worker.settings.servers import QdrantSettings
from worker.store.opening import open_store
from worker.store.protocol import Stored, VectorStore

DIMENSION = 32
OPTIONS = IngestSettings(lease_s=0.2, batch_records=100)
DOI = "10.1038/nphys1170"
BARE = Document(doi=DOI)
FIRST = Document(doi=DOI, title="Measured measurement", year=2009)
SECOND = Document(doi=DOI, title="Measured measurement, revised", year=2009)
OTHERS = [Document(doi=f"10.1103/physrevlett.{n}") for n in range(100, 120)]


class Picky:
    """A real encoder with a limit on its memory, and a text that it can't bear."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.room = 10**9
        self.poison = ""
        self.texts: list[str] = []
        self.meanwhile: Callable[[], object] | None = None
        self.huge: str | None = None
        self.others_have_it = 0  # the memory, for so many calls

    def encode(self, texts: Sequence[str], _done: object = None) -> NDArray[np.float32]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        if len(texts) > self.room or self.others_have_it > 0:
            self.others_have_it -= 1
            raise OutOfMemory(f"{len(texts)} texts are too many")
        if self.huge and self.huge in texts:
            raise OutOfMemory("a text is too long")
        if self.poison and self.poison in texts:
            raise RuntimeError("index out of range in self")
        self.texts.extend(texts)
        return self._embedder.encode(texts)


@pytest.fixture
def options() -> IngestSettings:
    return OPTIONS


class Bench:
    """One worker's objects, without Celery: the test says what is run, and when."""

    def __init__(self, ledger: Ledger, store: VectorStore, encoder: Picky, *, name: str) -> None:
        self.ledger, self.store, self.encoder = ledger, store, encoder
        self.alias, self.collection = name, collection_name(name, "0" * 64)
        store.create(self.collection, dimension=DIMENSION)
        store.publish([self.alias], collection=self.collection)
        self.templates: tuple[str, ...] = ("{doi}",)

    def worker(self) -> Ingestor:
        models = Models(self.target, idle_s=0)
        leases = Leases(self.ledger, lease_s=OPTIONS.lease_s)
        return ingestor(self.ledger, self.store, alias=self.alias, models=models, leases=leases)

    def target(self, collection: str) -> Target:
        return Target(collection, self.templates, self.encoder)

    def accept(self, job: str, *batches: Sequence[Document]) -> None:
        self.ledger.open(job, identity=None, source="test", batch_records=100)
        for number, documents in enumerate(batches):
            self.ledger.accept(job, number, documents)
        assert self.ledger.seal(job, len(batches), repeated=0, invalid=0)

    def run(self, job: str, number: int = 0) -> Job:
        self.worker().run(job, number)
        return self.ledger.job(job)

    def ingest(self, job: str, *documents: Document) -> Job:
        self.accept(job, documents)
        return self.run(job)

    def lose(self, times: int) -> None:
        """Claim the batch of `job` and say no more, as a worker that dies does."""
        for _ in range(times):
            assert self.ledger.claim("job", 0)
            wait_until(lambda: bool(self.ledger.lost(queue_is_empty=False)))

    def die_on(self, index: int, *, after_writing: bool = False) -> None:
        """Be killed on a record of the batch of `job`, before it is written or after that."""
        claim = self.ledger.claim("job", 0)
        assert claim
        if after_writing:
            self.worker()._work(claim, work_of(claim))
        self.ledger.mark(claim, index)
        wait_until(lambda: bool(self.ledger.lost(queue_is_empty=False)))

    def hash_of(self, doi: str = DOI) -> str | None:
        stored = self.store.read(self.collection, [point_id(doi)])
        return stored[point_id(doi)].content_hash if stored else None

    def sweeper(self) -> Sweeper:
        return sweeper(self.ledger, self.store, alias=self.alias)


@pytest.fixture
def bench(
    ledger: Ledger, store: VectorStore, embedder: Embedder, request: pytest.FixtureRequest
) -> Bench:
    name = f"c{abs(hash(request.node.name))}"
    return Bench(ledger, store, Picky(embedder), name=name)


def test_records_are_stored_with_the_vectors_of_their_texts(bench: Bench) -> None:
    job = bench.ingest("job", *OTHERS)
    assert (job.state, job.stored) == (JobState.SETTLED, len(OTHERS))
    assert set(bench.store.ids(bench.collection)) == {point_id(d.doi) for d in OTHERS}
    searcher = Searcher(bench.store, alias=bench.alias, load=bench.target)
    best = searcher.search(text=OTHERS[3].doi, k=1, all_kinds=True)[0]
    assert best.doi == OTHERS[3].doi
    assert best.score == pytest.approx(1.0, abs=1e-4)


def test_a_search_runs_the_model_only_for_what_is_not_stored(bench: Bench) -> None:
    bench.ingest("job", *OTHERS)
    loaded: list[str] = []

    def load(collection: str) -> Target:
        loaded.append(collection)
        return bench.target(collection)

    searcher = Searcher(bench.store, alias=bench.alias, load=load)
    bench.encoder.texts.clear()
    hits = searcher.search(f"https://doi.org/{OTHERS[0].doi.upper()}", k=5)
    assert len(hits) == 5
    assert OTHERS[0].doi not in [hit.doi for hit in hits]
    assert (loaded, bench.encoder.texts) == ([], [])
    assert len(searcher.search(DOI, k=5)) == 5
    assert (loaded, bench.encoder.texts) == ([bench.collection], [DOI])
    assert searcher.search(DOI, k=5, only=Filter(registrant="10.9999")) == []


def test_a_search_for_what_the_model_cannot_read_says_so(bench: Bench) -> None:
    bench.templates = ("{title}",)
    searcher = Searcher(bench.store, alias=bench.alias, load=bench.target)
    with pytest.raises(Unanswerable, match="search with a text"):
        searcher.search(DOI)
    nowhere = Searcher(bench.store, alias="none", load=bench.target)
    with pytest.raises(Unanswerable, match="nothing is ingested yet"):
        nowhere.search(DOI)


def test_ingesting_again_embeds_nothing_and_writes_nothing(bench: Bench) -> None:
    bench.ingest("job", *OTHERS, FIRST)
    before = bench.store.read(bench.collection, [point_id(DOI)])
    bench.encoder.texts.clear()
    job = bench.ingest("again", *OTHERS, FIRST)
    assert job.unchanged == len(OTHERS) + 1
    assert bench.encoder.texts == []
    assert bench.store.read(bench.collection, [point_id(DOI)]) == before


def test_a_batch_that_runs_again_after_a_crash_has_the_same_counts(bench: Bench) -> None:
    bench.accept("job", [*OTHERS, FIRST])
    claim = bench.ledger.claim("job", 0)
    assert claim
    bench.worker()._work(claim, work_of(claim))  # and no settling: a crash
    wait_until(lambda: bool(bench.ledger.lost(queue_is_empty=False)))
    bench.encoder.texts.clear()
    assert bench.run("job").stored == len(OTHERS) + 1
    assert bench.encoder.texts == [], "what was written before the crash is not embedded again"


def test_a_text_that_fails_ends_alone(bench: Bench) -> None:
    bench.encoder.poison = OTHERS[7].doi
    job = bench.ingest("job", *OTHERS)
    assert (job.stored, job.dead) == (len(OTHERS) - 1, 1)
    letter = next(bench.ledger.dead("job"))
    assert (letter.document, letter.stage) == (OTHERS[7], "embed")
    assert letter.reason == "RuntimeError: index out of range in self"
    bench.encoder.poison = ""
    (number,) = bench.ledger.replay("job")
    job = bench.run("job", number)
    assert (job.state, job.stored, job.dead) == (JobState.SETTLED, len(OTHERS), 0)


def test_out_of_memory_halves_a_batch(bench: Bench) -> None:
    bench.encoder.room = 3
    assert bench.ingest("job", *OTHERS).stored == len(OTHERS)


def test_where_no_text_has_room_the_worker_ends_and_the_next_one_does_it(bench: Bench) -> None:
    bench.encoder.others_have_it = 100
    bench.accept("job", OTHERS)
    with pytest.raises(NoRoom, match="no memory to embed any text"):
        bench.worker().run("job", 0)
    bench.encoder.others_have_it = 0
    assert bench.worker().run("job", 0), "it was given back"
    job = bench.ledger.job("job")
    assert (job.stored, job.dead) == (len(OTHERS), 0)


def test_a_text_for_which_alone_there_is_no_room_ends_alone(bench: Bench) -> None:
    bench.templates = ("{title}", "{doi}")
    bench.encoder.huge = FIRST.title
    job = bench.ingest("job", *OTHERS, FIRST)
    assert (job.stored, job.dead) == (len(OTHERS), 1)
    assert "OutOfMemory" in next(bench.ledger.dead("job")).reason


def test_a_record_that_the_store_refuses_ends_alone(bench: Bench) -> None:
    refused = Document(doi=DOI, title="Measured \ud800")
    with pytest.raises(UnicodeEncodeError):
        bench.accept("job", [refused])
    huge = Document(doi=DOI, title="A year beyond 64 bits", year=2**70)
    job = bench.ingest("other", *OTHERS, huge)
    assert (job.stored, job.dead) == (len(OTHERS), 1)
    assert next(bench.ledger.dead("other")).stage == "upsert"


def test_records_without_what_the_model_reads_are_dead_letters(bench: Bench) -> None:
    bench.templates = ("{title}. {abstract}", "{title}")
    job = bench.ingest("job", FIRST, *OTHERS[:2])
    assert (job.stored, job.dead) == (1, 2)
    reasons = {d.document.doi: d.reason for d in bench.ledger.dead("job")}
    assert reasons[OTHERS[0].doi] == (
        "missing_metadata: it has no title; bring it (`doi-worker metadata`) or ingest it again "
        "with its title, or promote a model that reads {doi}, then `doi-worker dead replay`"
    )
    assert bench.encoder.texts == ["Measured measurement"]


def test_a_text_longer_than_the_limit_is_cut_and_its_record_kept_whole(bench: Bench) -> None:
    bench.templates = ("{title}. {abstract}", "{title}")
    abstract = "We measured what was measured. " * 4000
    job = bench.ingest("job", FIRST.model_copy(update={"abstract": abstract}))
    assert (job.stored, job.dead) == (1, 0)
    (text,) = bench.encoder.texts
    assert text == shorten(f"{FIRST.title}. {abstract}")
    assert len(text) <= TEXT_CHARACTERS
    (payload,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert payload["abstract"] == abstract
    searcher = Searcher(bench.store, alias=bench.alias, load=bench.target)
    (hit,) = searcher.search(text=f"{FIRST.title}. {abstract}", k=1)
    assert bench.encoder.texts == [text, text], "a query is read as what it is compared with"
    assert hit.score == pytest.approx(1.0, abs=1e-4)


def test_a_batch_that_was_lost_twice_runs_one_by_one_and_spares_a_single_death(
    bench: Bench,
) -> None:
    bench.accept("job", OTHERS[:3])
    bench.lose(2)
    bench.die_on(1)
    assert bench.run("job").stored == 3
    assert bench.encoder.texts == [d.doi for d in OTHERS[:3]]


def test_the_record_on_which_workers_die_ends_as_a_dead_letter(bench: Bench) -> None:
    bench.accept("job", OTHERS[:3])
    bench.lose(2)
    for _ in range(2):
        bench.die_on(1)
    job = bench.run("job")
    assert (job.stored, job.dead) == (2, 1)
    letter = next(bench.ledger.dead("job"))
    assert (letter.document, letter.stage) == (OTHERS[1], "process")


def test_a_record_that_was_stored_before_its_workers_died_is_no_dead_letter(bench: Bench) -> None:
    bench.accept("job", OTHERS[:3])
    bench.lose(2)
    for _ in range(2):
        bench.die_on(1, after_writing=True)
    job = bench.run("job")
    assert (job.stored, job.dead) == (3, 0)


def test_what_is_deleted_stays_deleted(bench: Bench) -> None:
    bench.accept("late", [FIRST])
    bench.ingest("job", SECOND)
    sequence = bench.ledger.bury([point_id(DOI)])
    bench.store.delete(bench.collection, [point_id(DOI)], below=sequence)
    assert bench.run("late").superseded == 1
    assert bench.hash_of() is None
    assert bench.ingest("anew", FIRST).stored == 1, "a record that came after is stored"
    bench.sweeper().sweep()
    assert bench.hash_of() == FIRST.content_hash


def test_a_deletion_while_a_batch_runs_is_heeded_when_it_settles(bench: Bench) -> None:
    bench.accept("job", [FIRST, *OTHERS])
    claim = bench.ledger.claim("job", 0)
    assert claim
    worker = bench.worker()
    outcome = worker._work(claim, work_of(claim))
    bench.ledger.bury([point_id(DOI)])
    worker._settle(claim, outcome)
    job = bench.ledger.job("job")
    assert (job.state, job.stored, job.superseded) == (JobState.SETTLED, len(OTHERS), 1)
    assert bench.hash_of() is None


def test_the_sweep_removes_what_a_stale_worker_brought_back(bench: Bench) -> None:
    bench.accept("job", [FIRST])
    claim = bench.ledger.claim("job", 0)
    assert claim
    bench.worker()._work(claim, work_of(claim))
    assert bench.ledger.bury([point_id(DOI)]) > claim.batch.sequence
    assert bench.hash_of() == FIRST.content_hash
    bench.sweeper().sweep()
    assert bench.hash_of() is None


TITLE = Document(doi=DOI, title="Measured measurement", year=2009)
ABSTRACT = Document(doi=DOI, abstract="We measure.", venue="Nature Physics")
LOOKED_UP = Document(
    doi=DOI, title="Measured Measurement", year=2010, supplied={"title": "crossref"}
)


@pytest.mark.parametrize(
    "versions",
    [
        (TITLE, SECOND, BARE),
        (BARE, BARE, BARE),
        (TITLE, ABSTRACT, BARE),
        (ABSTRACT, SECOND, TITLE),
        (TITLE, LOOKED_UP, ABSTRACT),
        (LOOKED_UP, TITLE, TITLE),
        (TITLE, SECOND, TITLE),
    ],
)
def test_a_record_has_of_each_field_what_was_given_last_in_whatever_order_batches_run(
    bench: Bench, versions: tuple[Document, ...]
) -> None:
    expected = reduce(Record.merged, (Record.of(d, n) for n, d in enumerate(versions)))
    sources = {name: stamp.source for name, stamp in expected.stamps.items()}
    for order in permutations(range(len(versions))):
        doi = f"{DOI}.{''.join(map(str, order))}"
        jobs = [f"job{number}{order}" for number in range(len(versions))]
        for job, document in zip(jobs, versions, strict=True):
            bench.accept(job, [document.model_copy(update={"doi": doi})])
        for number in order:
            bench.run(jobs[number])
            bench.run(jobs[order[0]])
        (said,) = bench.store.payloads(bench.collection, [point_id(doi)]).values()
        assert {n: said.get(n) for n in METADATA_FIELDS} == {
            n: expected.document.metadata.get(n) for n in METADATA_FIELDS
        }
        assert {name: field["source"] for name, field in said["fields"].items()} == sources
        for job in jobs:
            done = bench.ledger.job(job)
            assert (done.state, done.settled, done.dead) == (JobState.SETTLED, 1, 0)


def test_a_field_that_the_text_is_not_made_of_is_merged_without_embedding(bench: Bench) -> None:
    bench.templates = ("{title}", "{doi}")
    bench.ingest("job", TITLE)
    before = bench.store.vectors(bench.collection, [point_id(DOI)])[point_id(DOI)]
    bench.encoder.texts.clear()
    assert bench.ingest("more", ABSTRACT).stored == 1
    assert bench.encoder.texts == []
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert (said["title"], said["abstract"]) == (TITLE.title, ABSTRACT.abstract)
    assert said["text_from"] == "title"
    after = bench.store.vectors(bench.collection, [point_id(DOI)])[point_id(DOI)]
    np.testing.assert_array_equal(before, after)


def test_the_text_is_made_of_what_is_known_after_merging(bench: Bench) -> None:
    bench.templates = ("{title}. {abstract}", "{title}", "{doi}")
    bench.ingest("job", ABSTRACT)
    bench.ingest("more", TITLE)
    assert bench.encoder.texts == [DOI, f"{TITLE.title}. {ABSTRACT.abstract}"]
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert said["text_from"] == "title+abstract"


def test_two_workers_that_write_at_once_lose_nothing(bench: Bench) -> None:
    bench.ingest("bare", BARE, *OTHERS)
    bench.accept("titles", [TITLE, *OTHERS])
    bench.accept("abstracts", [ABSTRACT])
    bench.templates = ("{doi} {title}", "{doi} {abstract}", "{doi}")  # both embed
    bench.encoder.meanwhile = lambda: bench.run("abstracts")
    assert bench.run("titles").stored == 1
    assert bench.ledger.job("abstracts").stored == 1
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert (said["title"], said["abstract"]) == (TITLE.title, ABSTRACT.abstract)
    assert (said["venue"], said["year"]) == (ABSTRACT.venue, TITLE.year)


def test_a_deleted_field_does_not_come_back_with_a_late_worker(bench: Bench) -> None:
    bench.accept("old", [TITLE])
    claim = bench.ledger.claim("old", 0)
    assert claim
    late = bench.worker()
    bench.ledger.bury([point_id(DOI)])
    bench.ingest("new", ABSTRACT)
    late._work(claim, work_of(claim))
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert "title" not in said
    assert said["abstract"] == ABSTRACT.abstract


def test_a_dead_letter_that_is_replayed_overrules_nothing_newer(bench: Bench) -> None:
    bench.encoder.poison = "Measured measurement"
    bench.templates = ("{title}", "{doi}")
    older = TITLE.model_copy(update={"venue": "Nature"})
    assert bench.ingest("job", older).dead == 1
    bench.encoder.poison = ""
    newer = Document(doi=DOI, title="Another title", abstract="We measure.")
    assert bench.ingest("newer", newer).stored == 1
    (number,) = bench.ledger.replay("job")
    assert bench.run("job", number).stored == 1
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert said["title"] == "Another title"
    assert (said["venue"], said["year"], said["abstract"]) == ("Nature", 2009, "We measure.")


def test_a_job_that_has_a_doi_in_several_batches_keeps_all_of_it(bench: Bench) -> None:
    for order in permutations(range(3)):
        job, doi = f"job{order}", f"{DOI}.{''.join(map(str, order))}"
        bench.ledger.open(job, identity=None, source="test", batch_records=1)
        for number, document in enumerate((TITLE, SECOND, TITLE)):
            again = [doi] if number else []
            given = document.model_copy(update={"doi": doi})
            bench.ledger.accept(job, number, [given], again=again)
        bench.ledger.seal(job, 3, repeated=0, invalid=0)
        for number in order:
            bench.run(job, number)
        assert bench.ledger.job(job).settled == 3
        (said,) = bench.store.payloads(bench.collection, [point_id(doi)]).values()
        assert said["title"] == TITLE.title, order


def test_dead_letters_of_one_doi_in_several_batches_are_all_replayed(bench: Bench) -> None:
    bench.templates = ("{title}", "{abstract}", "{doi}")
    bench.ledger.open("job", identity=None, source="test", batch_records=1)
    bench.ledger.accept("job", 0, [TITLE])
    bench.ledger.accept("job", 1, [ABSTRACT], again=[DOI])
    bench.ledger.seal("job", 2, repeated=0, invalid=0)
    for number, poison in enumerate((TITLE.title, ABSTRACT.abstract)):
        bench.encoder.poison = poison or ""
        bench.run("job", number)
    assert bench.ledger.job("job").dead == len(list(bench.ledger.dead("job"))) == 2
    assert [letter.document for letter in bench.ledger.letters(DOI)] == [TITLE, ABSTRACT]
    bench.encoder.poison = ""
    for number in bench.ledger.replay("job"):
        bench.run("job", number)
    job = bench.ledger.job("job")
    assert (job.dead, job.stored, list(bench.ledger.dead("job"))) == (0, 2, [])
    assert bench.hash_of() == TITLE.model_copy(update=ABSTRACT.metadata).content_hash


def test_replays_of_one_doi_leave_what_was_given_last_in_whatever_order_they_run(
    bench: Bench,
) -> None:
    bench.templates = ("{title}", "{doi}")
    bench.accept("first", [TITLE])
    bench.ledger.open("job", identity=None, source="test", batch_records=1)
    for number, document in enumerate((SECOND, TITLE)):
        bench.ledger.accept("job", number, [document], again=[DOI] if number else [])
    bench.ledger.seal("job", 2, repeated=0, invalid=0)
    for number, document in enumerate((SECOND, TITLE)):
        bench.encoder.poison = document.title or ""
        bench.run("job", number)
    bench.encoder.poison = ""
    bench.run("first")
    for number in reversed(bench.ledger.replay("job")):
        bench.run("job", number)
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert said["title"] == TITLE.title


def test_a_letter_that_is_replayed_while_a_newer_batch_looks_overrules_nothing(
    bench: Bench,
) -> None:
    bench.templates = ("{title}", "{doi}")
    bench.ingest("first", TITLE)
    bench.encoder.poison = SECOND.title or ""
    assert bench.ingest("job", SECOND).dead == 1
    bench.encoder.poison = ""
    bench.accept("newer", [TITLE])
    overheard, store = Overheard(bench.store), bench.store
    bench.store = cast(VectorStore, overheard)
    worker = bench.worker()
    bench.store = store
    overheard.after_read = lambda: [bench.run("job", n) for n in bench.ledger.replay("job")]
    worker.run("newer", 0)
    (said,) = bench.store.payloads(bench.collection, [point_id(DOI)]).values()
    assert said["title"] == TITLE.title


class Overheard:
    """A real store; something else happens once, after it was read."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.after_read: Callable[[], object] = lambda: None

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        found = self._store.read(collection, ids)
        happens, self.after_read = self.after_read, lambda: None
        happens()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_many_jobs_at_random_leave_of_each_field_what_was_given_last(bench: Bench) -> None:
    moves = random.Random(5)
    jobs = []
    for number in range(12):
        documents = {
            d.doi: Document(
                doi=d.doi,
                title=moves.choice([None, "a title", "another title"]),
                abstract=moves.choice([None, None, "an abstract"]),
                year=moves.choice([None, 2001, 2002]),
                supplied=moves.choice([{}, {}, {"title": "crossref"}]),
            )
            for d in moves.sample(OTHERS, 8)
        }
        bench.accept(f"job{number}", list(documents.values()))
        jobs.append(documents)
    for number in moves.sample(range(12), 12):
        bench.run(f"job{number}")
        bench.run(f"job{moves.randrange(12)}")
    for doi in {doi for documents in jobs for doi in documents}:
        given = [Record.of(ds[doi], n) for n, ds in enumerate(jobs) if doi in ds]
        assert bench.hash_of(doi) == reduce(Record.merged, given).document.content_hash


def test_a_bare_record_is_stored_though_a_deletion_has_yet_to_reach_its_titled_forerunner(
    bench: Bench,
) -> None:
    bench.ingest("job", FIRST)
    bench.ledger.bury([point_id(DOI)])  # and the command that deletes is killed
    assert bench.ingest("anew", BARE).stored == 1
    bench.sweeper().sweep()
    assert bench.hash_of() == BARE.content_hash


class Contrary:
    """A real store, some of whose calls fail."""

    def __init__(self, store: VectorStore, **failing: Exception) -> None:
        self._store = store
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        if name in self.failing:
            raise self.failing[name]
        return getattr(self._store, name)


def test_an_error_of_the_read_path_is_no_records_fault(bench: Bench) -> None:
    bench.accept("job", OTHERS)
    contrary = Contrary(bench.store, read=StoreRejected("strict mode: no index on sequence"))
    sound, bench.store = bench.store, cast(VectorStore, contrary)
    for _ in range(3):
        assert not bench.worker().run("job", 0)
    job = bench.ledger.job("job")
    assert (job.settled, job.note) == (0, "StoreRejected: strict mode: no index on sequence")
    bench.store = sound
    assert bench.run("job").stored == len(OTHERS), "one by one was not needed: no claim counted"
    assert bench.ledger.job("job").note == ""


def test_what_stays_wrong_pauses_the_job(bench: Bench) -> None:
    bench.accept("job", OTHERS)
    bench.store = cast(VectorStore, Contrary(bench.store, read=StoreBusy("in use")))
    while bench.ledger.job("job").state is JobState.SEALED:
        assert not bench.worker().run("job", 0)
    job = bench.ledger.job("job")
    assert (job.state, job.note, job.dead) == (JobState.PAUSED, "StoreBusy: in use", 0)


def test_a_record_that_a_bug_stumbles_over_ends_alone(bench: Bench) -> None:
    """Here a DOI that is no text, which no reader lets through."""
    odd = Document.model_construct(doi=7)
    bench.accept("job", OTHERS)
    claim = bench.ledger.claim("job", 0)
    assert claim
    documents = (*claim.batch.documents, odd)
    claim = claim._replace(batch=claim.batch.model_copy(update={"documents": documents}))
    outcome = bench.worker()._work(claim, work_of(claim))
    assert outcome.counts == {State.STORED: len(OTHERS), State.DEAD: 1}
    assert outcome.dead[odd.doi].stage == "upsert"


def test_a_record_that_is_overruled_while_it_is_embedded_counts_as_superseded(bench: Bench) -> None:
    bench.accept("older", [FIRST, *OTHERS])
    bench.accept("newer", [SECOND])
    bench.encoder.meanwhile = lambda: bench.run("newer")
    older = bench.run("older")
    assert (older.stored, older.superseded) == (len(OTHERS), 1)
    assert bench.ledger.job("newer").stored == 1
    assert bench.hash_of() == SECOND.content_hash


def test_a_dead_letter_makes_only_its_own_record_be_written_again(bench: Bench) -> None:
    bench.encoder.poison = OTHERS[0].doi
    titled = [Document(doi=d.doi, title="A title") for d in OTHERS]
    assert bench.ingest("job", *titled).dead == 1
    bench.encoder.poison = ""
    bench.encoder.texts.clear()
    again = bench.ingest("again", *titled)
    assert (again.stored, again.unchanged) == (1, len(OTHERS) - 1)
    assert bench.encoder.texts == [OTHERS[0].doi]


def test_a_batch_that_is_too_large_for_the_server_is_split(
    ledger: Ledger, embedder: Embedder, qdrant_server: QdrantServer, tmp_path: Path
) -> None:
    strict = {"strict_mode_config": {"enabled": True, "upsert_max_batchsize": 3}}
    settings = QdrantSettings(
        url=qdrant_server.url, grpc_port=qdrant_server.grpc_port, collection=strict
    )
    with closing(open_store(settings, data_dir=tmp_path)) as store:
        bench = Bench(ledger, store, Picky(embedder), name=f"c{uuid4().hex}")
        job = bench.ingest("job", *OTHERS)
        assert (job.stored, job.dead) == (len(OTHERS), 0)
        assert store.count(bench.collection) == len(OTHERS)


def test_a_replay_that_a_bug_stumbles_over_again_ends_as_a_dead_letter_again(bench: Bench) -> None:
    odd = Document.model_construct(doi=7)
    bench.accept("job", [BARE])
    claim = bench.ledger.claim("job", 0)
    assert claim
    claim = claim._replace(batch=claim.batch.model_copy(update={"documents": (odd,)}))
    assert bench.worker()._work(claim, work_of(claim)).counts == {State.DEAD: 1}


@pytest.mark.parametrize("failure", [OSError(24, "Too many open files"), ImportError("no torch")])
def test_a_model_that_cannot_be_loaded_is_no_records_fault(
    bench: Bench, failure: Exception
) -> None:
    def load() -> Embedder:
        raise failure

    bench.accept("job", OTHERS)
    bench.encoder = cast(Picky, Deferred(load))
    with pytest.raises(ModelError):
        bench.worker().run("job", 0)
    assert bench.ledger.job("job").settled == 0
