"""What jobs accepted against what both stores hold: planted losses are named, and repaired."""

import uuid
from collections.abc import Sequence

import pytest

from schemas.document import Document
from schemas.doi import point_id
from schemas.job import DeadLetter, Job, JobState, State
from schemas.model import collection_name
from tests.support.vectors import payload, vectors
from tests.support.workers import ingestor
from worker.audit import Audit, Finding, Repair, Trouble
from worker.errors import Unanswerable
from worker.ledger.kept import End
from worker.ledger.leases import Leases
from worker.ledger.ledger import Ledger
from worker.model.embedder import Embedder
from worker.model.loaded import Models, Target
from worker.patience import Patience
from worker.settings.ingest import IngestSettings
from worker.store.protocol import VectorStore, Write

FIRST = [Document(doi=f"10.1000/a{n}", title=f"On {n}") for n in range(40)]
SECOND = [Document(doi=f"10.1000/b{n}") for n in range(40)]
FOREVER = 2**60


GARBAGE = (
    {},
    {"doi": 5, "revision": 7},
    {"doi": "10.1000/g", "revision": "r", "fields": "none", "sequence": "late"},
    {"doi": "10.1000/g", "revision": "r", "fields": {"title": 3}, "sequence": 2**62},
    {"doi": "10.1000/g", "revision": "r", "fields": {"title": {"sequence": "x"}}, "title": 9},
    {"doi": "10.1000/g", "revision": "r", "fields": {}, "sequence": 2**62, "deleted": "never"},
)


@pytest.fixture
def options() -> IngestSettings:
    return IngestSettings(lease_s=5.0, batch_records=30)


class Site:
    """A live collection, and a worker's objects without Celery."""

    def __init__(self, ledger: Ledger, store: VectorStore, embedder: Embedder) -> None:
        self.ledger, self.store = ledger, store
        self.alias = f"a{uuid.uuid4().hex[:8]}"
        self.live = collection_name(self.alias, "a" * 16)
        store.create(self.live, dimension=32)
        store.publish([self.alias], collection=self.live)
        models = Models(lambda name: Target(name, ("{title}", "{doi}"), embedder), idle_s=60.0)
        leases = Leases(ledger, lease_s=5.0)
        self.worker = ingestor(ledger, store, alias=self.alias, models=models, leases=leases)

    def accept(self, job: str, documents: Sequence[Document], *, size: int = 30) -> int:
        self.ledger.open(job, identity=None, source="a.txt", batch_records=size)
        parts = [documents[at : at + size] for at in range(0, len(documents), size)]
        for number, part in enumerate(parts):
            self.ledger.accept(job, number, part)
        self.ledger.seal(job, len(parts), repeated=0, invalid=0)
        return len(parts)

    def ingest(self, job: str, documents: Sequence[Document]) -> None:
        for number in range(self.accept(job, documents)):
            self.worker.run(job, number)

    def lose(self, *documents: Document) -> None:
        self.store.delete(self.live, [point_id(d.doi) for d in documents], below=FOREVER)

    def put(self, i: str, **fields: object) -> None:
        write = Write([i], vectors(["10.1000/x"], dimension=32), [fields])
        self.store.upsert(self.live, write, revisions=[""])

    def audit(self) -> Audit:
        return Audit(self.ledger, self.store, alias=self.alias)

    def findings(self, job: str | None = None) -> list[Finding]:
        return [finding for page in self.audit().look(job) for finding in page]

    def troubles(self, job: str | None = None) -> dict[str, Trouble]:
        return {finding.doi: finding.trouble for finding in self.findings(job)}

    def repair(self) -> str:
        """Audit and repair all jobs; the repair's job, worked off."""
        sent: list[tuple[str, int]] = []

        def begin() -> Job:
            return self.ledger.open("repair", identity=None, source="repair", batch_records=30)

        with Repair(
            self.ledger,
            begin,
            send=lambda job, number: sent.append((job, number)),
            patience=Patience(),
            most=None,
            beat_s=60.0,
        ) as mending:
            audit = Audit(self.ledger, self.store, alias=self.alias, wanting=mending)
            for _ in audit.look():
                pass
        for job, number in sent:
            self.worker.run(job, number)
        return "repair"


@pytest.fixture
def site(ledger: Ledger, store: VectorStore, embedder: Embedder) -> Site:
    made = Site(ledger, store, embedder)
    made.ingest("first", FIRST)
    made.ingest("second", SECOND)
    return made


def test_what_is_missing_is_named_and_repaired_under_its_old_sequence(site: Site) -> None:
    assert site.findings() == []
    there = site.store.read(site.live, [point_id(d.doi) for d in (FIRST[3], SECOND[35])])
    site.lose(FIRST[3], SECOND[35])
    found = site.findings()
    assert {(f.doi, f.trouble, f.words) for f in found} == {
        (FIRST[3].doi, Trouble.MISSING, "job first, batch 0"),
        (SECOND[35].doi, Trouble.MISSING, "job second, batch 1"),
    }
    assert [f.doi for f in site.findings("second")] == [SECOND[35].doi]
    repaired = site.ledger.job(site.repair())
    assert (repaired.state, repaired.accepted, repaired.stored) == (JobState.SETTLED, 2, 2)
    assert site.findings() == []
    again = site.store.read(site.live, list(there))
    assert {i: s.sequence for i, s in again.items()} == {i: s.sequence for i, s in there.items()}


def test_a_record_with_less_than_was_given_is_outdated(site: Site) -> None:
    newer = [FIRST[5].model_copy(update={"title": "A better title", "year": 2020})]
    site.ingest("third", newer)
    site.lose(FIRST[5])
    older = payload(FIRST[5], sequence=site.audit()._ledger.kept("first").__next__().sequence)
    site.put(point_id(FIRST[5].doi), **older)
    assert [(f.doi, f.trouble, f.words) for f in site.findings()] == [
        (FIRST[5].doi, Trouble.OUTDATED, "its title and year are older; job third, batch 0")
    ]
    site.repair()
    assert site.findings() == []
    (now,) = site.store.payloads(site.live, [point_id(FIRST[5].doi)]).values()
    assert (now["title"], now["year"]) == ("A better title", 2020)


def test_what_was_overtaken_or_said_again_is_not_missed(site: Site) -> None:
    site.ingest("third", [FIRST[0].model_copy(update={"title": "Another"}), FIRST[1]])
    site.ingest("fourth", [Document(doi=FIRST[0].doi), Document(doi=FIRST[2].doi, year=1999)])
    assert site.findings() == []


def test_what_was_deleted_is_dead_or_cancelled_need_not_be_there(site: Site) -> None:
    buried = site.ledger.bury([point_id(FIRST[0].doi)])
    site.store.delete(site.live, [point_id(FIRST[0].doi)], below=buried)
    site.accept("bad", [Document(doi="10.1000/dead"), Document(doi="10.1000/lookup", source="x")])
    claim = site.ledger.claim("bad", 0)
    assert claim
    dead = DeadLetter(
        job="bad",
        sequence=claim.batch.sequence,
        stage="upsert",
        reason="it is bad",
        document=claim.batch.documents[0],
    )
    site.ledger.settle(claim, {State.DEAD: 1, State.SUPERSEDED: 1}, [dead])
    site.accept("given up", [Document(doi="10.1000/cancelled")])
    site.ledger.cancel("given up")
    site.accept("waiting", [Document(doi="10.1000/waiting")])
    audit = site.audit()
    assert [finding for page in audit.look() for finding in page] == []
    assert audit.tally.excused == 3
    assert audit.tally.batches == {End.SETTLED: 5, End.CANCELLED: 1, End.WAITING: 1}
    site.ledger.replay("bad")
    assert site.findings() == [], "it is on its way"
    site.worker.run("bad", 1)
    assert site.findings() == []
    site.lose(Document(doi="10.1000/dead"))
    assert {f.words for f in site.findings()} == {"job bad, batch 0", "job bad, batch 1"}


def test_points_of_others_and_under_others_ids_are_named(site: Site) -> None:
    stray, wrong = str(uuid.uuid4()), str(uuid.uuid4())
    site.put(stray, text="hello")
    site.put(wrong, **payload(Document(doi="10.1000/wrong"), sequence=7))
    site.lose(FIRST[7])
    site.put(point_id(FIRST[7].doi), **payload(Document(doi="10.1000/other"), sequence=7))
    site.ledger.bury([point_id(FIRST[8].doi)])  # and its point is still there
    found = {(f.id, f.trouble) for f in site.findings()}
    assert found == {
        (stray, Trouble.UNEXPECTED),
        (wrong, Trouble.FOREIGN_ID),
        (point_id(FIRST[7].doi), Trouble.FOREIGN_ID),
        (point_id(FIRST[7].doi), Trouble.MISSING),
        (point_id(FIRST[8].doi), Trouble.UNEXPECTED),
    }
    site.repair()
    assert {f.id for f in site.findings()} == {stray, wrong, point_id(FIRST[8].doi)}


def test_payloads_that_somebody_broke_are_missing(site: Site) -> None:
    site.lose(FIRST[0])
    site.put(point_id(FIRST[0].doi), doi=FIRST[0].doi, title="by hand")
    ((first, _, trouble, words),) = site.findings("first")
    assert (first, trouble) == (FIRST[0].doi, Trouble.MISSING)
    assert words.startswith("something else is at its id")
    site.repair()
    assert site.findings() == []


@pytest.mark.parametrize("payload", GARBAGE, ids=range(len(GARBAGE)))
def test_whatever_others_write_is_told_and_stops_nothing(
    site: Site, payload: dict[str, object]
) -> None:
    here, stray = point_id(FIRST[0].doi), str(uuid.uuid4())
    site.lose(FIRST[0])
    site.ledger.bury([str(uuid.uuid4()), stray])
    site.put(here, **payload)
    site.put(stray, **payload)
    found = site.findings()
    assert {f.id for f in found} == {here, stray}
    assert (here, Trouble.MISSING) in {(f.id, f.trouble) for f in found}


def test_batches_that_the_ledger_no_longer_keeps_are_counted(site: Site) -> None:
    site.ledger._redis.delete("doivec:batch:first:0")
    site.lose(*FIRST)
    audit = site.audit()
    lost = [finding for page in audit.look("first") for finding in page]
    assert (len(lost), audit.tally.batches[End.GONE]) == (10, 1)


def test_a_model_that_goes_live_meanwhile_is_followed(site: Site) -> None:
    audit = site.audit()
    new = collection_name(site.alias, "b" * 16)
    site.store.create(new, dimension=32)
    ids = [point_id(d.doi) for d in (*FIRST, *SECOND)]
    for i, (found, vector) in site.store.points(site.live, ids).items():
        site.store.upsert(new, Write([i], vector[None], [found]), revisions=())
    site.store.switch(site.alias, expected=site.live, collection=new)
    site.lose(*FIRST)
    assert [finding for page in audit.look("first") for finding in page] == []


def test_nothing_is_ingested_yet(ledger: Ledger, store: VectorStore) -> None:
    with pytest.raises(Unanswerable, match="nothing is ingested yet"):
        Audit(ledger, store, alias="none")


def test_what_was_looked_up_before_there_was_a_record_is_not_missed(site: Site) -> None:
    looked_up = Document(doi="10.1000/new", year=1999, source="crossref")
    site.ingest("looked-up", [looked_up])
    site.ingest("given", [Document(doi="10.1000/new", title="New")])
    assert site.findings() == []


def test_what_was_looked_up_of_a_record_that_was_there_is_missed(site: Site) -> None:
    looked_up = Document(doi=FIRST[0].doi, year=1999, source="crossref")
    i = point_id(looked_up.doi)
    before = site.store.payloads(site.live, [i])[i]
    site.ingest("looked-up", [looked_up])
    site.lose(looked_up)
    site.put(i, **before)
    assert site.troubles() == {looked_up.doi: Trouble.OUTDATED}
