"""Vectors and payloads that were changed behind doivec's back are found, on both stores."""

import uuid
from collections import Counter

import numpy as np
import pytest

from schemas.document import Document
from schemas.doi import point_id
from schemas.model import collection_name, render, text_from
from schemas.record import Record
from tests.support.vectors import NOW
from worker.model.embedder import Embedder
from worker.model.loaded import Target
from worker.store.points import payload
from worker.store.protocol import VectorStore, Write
from worker.verification import Fault, Verification, drawn

TEMPLATES = ("{title}", "{doi}")
TITLED = [Document(doi=f"10.1000/t{n}", title=f"On {n}", year=2000) for n in range(300)]
BARE = [Document(doi=f"10.1000/b{n}") for n in range(300)]
FOREVER = 2**60


class Site:
    def __init__(self, store: VectorStore, embedder: Embedder) -> None:
        self.store = store
        name = collection_name(f"a{uuid.uuid4().hex[:8]}", "a" * 16)
        store.create(name, dimension=32)
        self.target = Target(name, TEMPLATES, embedder)
        texts = [render(d, TEMPLATES) or "" for d in (*TITLED, *BARE)]
        self.vectors = embedder.encode(texts)
        self.payloads = [
            payload(Record.of(d, NOW), job="j", text_from=text_from(d, TEMPLATES) or "")
            for d in (*TITLED, *BARE)
        ]
        self.ids = [point_id(d.doi) for d in (*TITLED, *BARE)]
        store.upsert(name, Write(self.ids, self.vectors, self.payloads), revisions=())

    def change(self, row: int, *, vector: object = None, **fields: object) -> None:
        i = self.ids[row]
        self.store.delete(self.target.collection, [i], below=FOREVER)
        told = {n: v for n, v in {**self.payloads[row], **fields}.items() if v is not None}
        made = self.vectors[row] if vector is None else np.asarray(vector, np.float32)
        self.store.upsert(self.target.collection, Write([i], made[None], [told]), revisions=())

    def verify(self) -> tuple[Verification, dict[tuple[str, str], str]]:
        made = Verification(self.store, self.target)
        found = [finding for page in made.all() for finding in page]
        return made, {(f.doi, f.fault): f.words for f in found}


@pytest.fixture
def site(store: VectorStore, embedder: Embedder) -> Site:
    return Site(store, embedder)


def test_all_is_as_it_was_written(site: Site) -> None:
    made, found = site.verify()
    assert found == {}
    assert (made.looked_at, made.faulty, made.at_most) == (600, 0, 0.0)
    assert made.lowest > 0.9999


def test_each_fault_is_named(site: Site) -> None:
    nearly = site.vectors[0] + 0.012 * np.sign(site.vectors[1])
    site.change(0, vector=nearly)
    site.change(1, vector=-site.vectors[1])
    site.change(2, title="Something else")
    site.change(3, text_from="doi")
    site.change(4, revision=None)
    site.change(5, year=None)
    site.change(6, venue="Given by hand")
    site.change(7, content_hash="0" * 32, tags="of another program")
    site.change(8, tags="of another program")
    made, found = site.verify()
    doi = [d.doi for d in TITLED]
    assert found.keys() == {
        (doi[0], Fault.DRIFT),
        (doi[1], Fault.FOREIGN_VECTOR),
        (doi[2], Fault.PAYLOAD),
        (doi[2], Fault.FOREIGN_VECTOR),
        (doi[3], Fault.TEXT_FROM),
        (doi[4], Fault.FOREIGN_POINT),
        (doi[5], Fault.FOREIGN_POINT),
        (doi[6], Fault.PAYLOAD),
        (doi[7], Fault.PAYLOAD),
    }
    assert (made.faulty, made.looked_at) == (8, 600)
    assert found[doi[7], Fault.PAYLOAD] == "its content_hash is not what was written"
    assert "cosine 0.99" in found[doi[0], Fault.DRIFT]


def test_whatever_others_write_is_told_and_stops_nothing(site: Site) -> None:
    garbage = (
        {"sequence": 2**62},
        {"fields": "none"},
        {"fields": {"title": 3}},
        {"fields": {"title": {"sequence": "x", "source": "y"}}},
        {"doi": 5},
        {"title": 9},
        {"deleted": "never"},
        {"registrant": {"a": "b"}},
    )
    for row, fields in enumerate(garbage):
        site.change(row, **fields)
    made, found = site.verify()
    assert made.faulty == len(garbage)
    assert len({doi for doi, _ in found}) == len(garbage)


def test_a_sample_is_drawn_evenly_and_tells_what_it_may_have_missed(site: Site) -> None:
    made = Verification(site.store, site.target)
    assert made.at_most == 1.0
    for page in made.sample(100, seed=7):
        assert page == []
    assert made.looked_at == 100
    assert made.at_most == pytest.approx(0.03)
    ids = list(site.store.ids(site.target.collection))
    times = Counter(i for seed in range(200) for i in drawn(ids, 60, seed=seed))
    assert times.total() == 12_000
    assert len(times) == 600
    assert max(times.values()) < 45, "20 are expected of each"
    whole = Verification(site.store, site.target)
    list(whole.sample(10_000))
    assert (whole.looked_at, whole.at_most) == (600, 0.0)


def test_a_vector_that_is_not_of_unit_length_is_told() -> None:
    # Qdrant makes all of unit length as it takes them; one that doesn't has other settings.
    from worker.verification import _of_vector  # noqa: PLC0415

    assert list(_of_vector(np.array([0.6, 0.8], np.float32))) == []
    for wrong in ([0.6, 0.9], [0, 0], [np.nan, 1]):
        ((fault, _),) = _of_vector(np.array(wrong, np.float32))
        assert fault is Fault.LENGTH
