"""What every vector store promises: the same tests on a Qdrant server and on Qdrant Edge."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.document import Document
from schemas.doi import point_id, registrant
from schemas.model import guard_alias
from schemas.record import Record
from schemas.search import Filter, Hit, Years
from tests.support.paths import DATA
from tests.support.vectors import (
    DIMENSION,
    DOIS,
    METADATA,
    NOW,
    bare,
    payload,
    revision,
    rich,
    vectors,
    write,
)
from worker.errors import CollectionMissing, ConfigurationError, StoreRejected, SwitchRefused
from worker.settings.servers import QdrantSettings
from worker.store import points as kept
from worker.store.opening import open_store
from worker.store.protocol import Query, Stored, VectorStore

SHARED_DOIS = DATA / "dois_100k.txt"
NUMPY = "10.1038/s41586-020-2649-2"
THREADS = 8
MIB = 1024 * 1024


@pytest.fixture(params=["server", "edge"])
def settings(request: pytest.FixtureRequest) -> QdrantSettings:
    if request.param == "edge":
        return QdrantSettings()
    server = request.getfixturevalue("qdrant_server")
    small = {"wal_config": {"wal_capacity_mb": 1}}
    return QdrantSettings(url=server.url, grpc_port=server.grpc_port, collection=small)


@pytest.fixture
def store(settings: QdrantSettings, tmp_path: Path) -> Iterator[VectorStore]:
    made = open_store(settings, data_dir=tmp_path)
    yield made
    made.close()


@pytest.fixture
def collection(store: VectorStore) -> str:
    name = f"dois-{uuid.uuid4().hex[:16]}"
    store.create(name, dimension=DIMENSION)
    return name


@pytest.fixture
def alias() -> str:
    return f"a-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def versions(store: VectorStore, alias: str) -> list[str]:
    """Three collections of an alias that does not exist yet, in the order of their names."""
    names = [f"{alias}-{digit * 16}" for digit in "abc"]
    for name in names:
        store.create(name, dimension=DIMENSION)
    return names


def guard(alias: str, collection: str) -> str:
    return guard_alias(alias, collection.removeprefix(f"{alias}-"))


def aliases(store: VectorStore, alias: str, versions: list[str]) -> dict[str, str]:
    """Where the alias and its guards point, by what they are called without the alias."""
    names = [alias, *(guard(alias, version) for version in versions)]
    there = {name.removeprefix(alias): store.live(name) for name in names}
    return {name: live.removeprefix(alias) for name, live in there.items() if live is not None}


def switched(collection: str) -> dict[str, str]:
    """What `aliases` says when a switch to the collection that ends so is over."""
    end = collection[-16:]
    return {"": f"-{end}", f"@{end}": f"-{end}"}


def put(store: VectorStore, collection: str, documents: list[Document], sequence: int) -> None:
    store.upsert(collection, write(documents, sequence=sequence), revisions=())


def nearest(
    store: VectorStore,
    collection: str,
    vector: NDArray[np.float32],
    *,
    k: int,
    only: Filter | None = None,
    without: str | None = None,
) -> list[Hit]:
    """The hits of one query."""
    (hits,) = store.query(collection, [Query(vector, only or Filter(), without)], k=k)
    return hits


def test_an_alias_is_published_once_and_never_moved(store: VectorStore, collection: str) -> None:
    alias, guard = f"a-{collection}", f"a-{collection}@1"
    other = f"{collection}-other"
    store.create(other, dimension=DIMENSION)
    assert store.live(alias) is None
    store.publish([alias], collection=collection)
    store.publish([guard, alias], collection=other)
    assert (store.live(alias), store.live(guard)) == (collection, other)


def test_publishing_a_collection_that_is_not_there(store: VectorStore) -> None:
    with pytest.raises(CollectionMissing):
        store.publish(["nowhere"], collection="absent")
    assert store.live("nowhere") is None


def test_the_collections_of_an_alias_are_those_named_after_a_version(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    for ending in ("-" + "A" * 16, "-" + "a" * 15, "-" + "a" * 17, "x-" + "a" * 16):
        store.create(f"{alias}{ending}", dimension=DIMENSION)
    store.publish([alias], collection=versions[1])
    assert store.collections(alias) == versions
    assert store.collections("nothing") == []


def test_all_collections_are_named_whoever_made_them(store: VectorStore, alias: str) -> None:
    mine = [f"{alias}-{'a' * 16}", f"{alias}-another", f"{alias}x"]
    before = store.names()
    for name in reversed(mine):
        store.create(name, dimension=DIMENSION)
    assert store.names() == sorted([*before, *mine])
    store.publish([alias], collection=mine[0])
    assert alias not in store.names()


def test_aliases_and_the_state_of_a_collection(
    store: VectorStore, versions: list[str], alias: str
) -> None:
    guard = guard_alias(alias, "a" * 16)
    store.publish([guard, alias], collection=versions[0])
    assert {name: store.aliases()[name] for name in (alias, guard)} == {
        alias: versions[0],
        guard: versions[0],
    }
    health = store.health(versions[0])
    assert health.status in {"green", "yellow"}
    assert (list(health.troubles), dict(health.limits)) == ([], {})
    assert health.engine[0].isdigit()
    with pytest.raises(CollectionMissing):
        store.health("nowhere")


def test_a_switch_takes_the_alias_and_its_guard_along(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    first, second, third = versions
    store.publish([guard(alias, first), alias, f"{alias}-another"], collection=first)
    for expected, collection in [(first, second), (second, third), (third, first), (first, second)]:
        store.switch(alias, expected=expected, collection=collection)
        assert aliases(store, alias, versions) == switched(collection)
    assert store.live(f"{alias}-another") == first


def test_a_switch_is_refused_where_the_alias_is_elsewhere(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    first, second, third = versions
    store.publish([guard(alias, first), alias], collection=first)
    with pytest.raises(SwitchRefused, match=f"{alias} points at {first}, not at {second}"):
        store.switch(alias, expected=second, collection=third)
    assert aliases(store, alias, versions) == switched(first)
    with pytest.raises(SwitchRefused, match="points at None"):
        store.switch("nothing", expected=second, collection=third)
    assert store.live("nothing") is None


def test_a_switch_to_a_missing_collection_moves_nothing(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    first = versions[0]
    store.publish([guard(alias, first), alias], collection=first)
    with pytest.raises(CollectionMissing):
        store.switch(alias, expected=first, collection=f"{alias}-{'d' * 16}")
    assert aliases(store, alias, versions) == switched(first)


@pytest.mark.parametrize(
    "there",
    [
        {"": 0},
        {"": 0, "@b": 0},
        {"": 1, "@b": 0},
        {"": 1, "@b": 1},
        {"": 1},
        {"": 1, "@a": 0},
        {"": 0, "@a": 0, "@b": 1, "@c": 2},
        {"": 1, "@a": 0, "@b": 0, "@c": 2},
    ],
    ids=str,
)
def test_a_switch_completes_what_is_half_done(
    store: VectorStore, alias: str, versions: list[str], there: dict[str, int]
) -> None:
    for name, live in there.items():
        full = f"{alias}@{name[1:] * 16}" if name else alias
        store.publish([full], collection=versions[live])
    for _ in range(2):
        store.switch(alias, expected=versions[0], collection=versions[1])
        assert aliases(store, alias, versions) == switched(versions[1])


def test_of_two_switches_at_the_same_moment_one_gets_through(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    store.publish([guard(alias, versions[0]), alias], collection=versions[0])
    together = threading.Barrier(2)

    def attempt(expected: str, collection: str) -> str | None:
        together.wait()
        try:
            store.switch(alias, expected=expected, collection=collection)
        except SwitchRefused:
            return None
        return collection

    live = versions[0]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            targets = [version for version in versions if version != live]
            won = [name for name in pool.map(attempt, [live, live], targets) if name]
            assert len(won) == 1
            (live,) = won
            assert aliases(store, alias, versions) == switched(live)


def test_a_dropped_collection_is_gone_and_can_be_made_again(
    store: VectorStore, alias: str, versions: list[str]
) -> None:
    gone = versions[0]
    put(store, gone, bare(), NOW)
    for _ in range(2):
        store.drop(gone)
        assert store.collections(alias) == versions[1:]
        with pytest.raises(CollectionMissing):
            store.count(gone)
    store.create(gone, dimension=DIMENSION)
    assert store.count(gone) == 0
    put(store, gone, bare(), NOW)
    assert store.count(gone) == store.count(gone, exact=False) == len(DOIS)


@pytest.mark.parametrize("ending", ["", "@1234"])
def test_a_collection_that_an_alias_points_at_is_not_dropped(
    store: VectorStore, collection: str, ending: str
) -> None:
    store.publish([f"a-{collection}{ending}"], collection=collection)
    put(store, collection, bare(), NOW)
    with pytest.raises(StoreRejected, match=f"{collection} is in use: a-{collection}{ending}"):
        store.drop(collection)
    assert store.count(collection) == len(DOIS)


def test_who_uses_a_collection_that_is_dropped_is_told(store: VectorStore, collection: str) -> None:
    ids = [point_id(doi) for doi in DOIS]
    begun = threading.Barrier(THREADS + 1)

    def use(number: int) -> None:
        begun.wait()
        while True:
            if number % 2:
                assert len(store.read(collection, ids)) == len(ids)
            else:
                put(store, collection, bare(), NOW)

    put(store, collection, bare(), NOW)
    with ThreadPoolExecutor(THREADS) as pool:
        users = [pool.submit(use, number) for number in range(THREADS)]
        begun.wait()
        store.drop(collection)
    assert {type(user.exception()) for user in users} == {CollectionMissing}


def test_create_leaves_a_collection_of_the_same_dimension(
    store: VectorStore, collection: str
) -> None:
    put(store, collection, bare(), NOW)
    store.create(collection, dimension=DIMENSION)
    assert store.count(collection) == len(DOIS)


def test_create_refuses_another_dimension(store: VectorStore, collection: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{collection}.*64"):
        store.create(collection, dimension=384)


def test_create_may_race_with_itself(store: VectorStore) -> None:
    name = f"dois-{uuid.uuid4().hex[:16]}"
    together = threading.Barrier(THREADS)

    def create(_: int) -> None:
        together.wait()
        store.create(name, dimension=DIMENSION)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(create, range(THREADS)))
    put(store, name, bare(), NOW)
    assert store.count(name) == len(DOIS)


def test_read_says_what_is_stored(store: VectorStore, collection: str) -> None:
    plain, described = bare(DOIS[3:5]), rich()
    put(store, collection, plain, NOW)
    put(store, collection, described, NOW + 1)
    ids = [point_id(doi) for doi in (*DOIS[3:5], *METADATA, "10.1000/182")]
    expected = {}
    for d in (*plain, *described):
        known = Record.of(d, NOW + (not d.is_bare))
        expected[point_id(d.doi)] = Stored(
            known.revision, d.content_hash, "job-a", known.sequence, 0, known.stamps
        )
    assert store.read(collection, ids) == expected
    assert store.read(collection, []) == {}


def test_a_record_is_read_back_as_it_was_written(store: VectorStore, collection: str) -> None:
    given = Record.of(Document(doi=NUMPY, title="A title", year=2020), NOW)
    found = Record.of(Document(doi=NUMPY, abstract="Of it.", source="crossref"), NOW + 5)
    merged = given.merged(found).since(NOW - 5)
    assert merged
    points = write(bare([NUMPY]))._replace(
        payloads=[kept.payload(merged, job="job-a", text_from="title")]
    )
    store.upsert(collection, points, revisions=())
    (there,) = store.payloads(collection, points.ids).values()
    assert kept.record(there) == merged
    assert there["fields"] == {
        "title": {"sequence": NOW, "source": "given"},
        "abstract": {"sequence": NOW + 5, "source": "crossref"},
        "year": {"sequence": NOW, "source": "given"},
    }
    assert there["text_from"] == "title"


def test_a_point_that_another_program_wrote_is_no_record(
    store: VectorStore, collection: str
) -> None:
    points = write(bare([NUMPY]))
    foreign = points._replace(payloads=[{"doi": NUMPY, "title": "Ours", "sequence": NOW}])
    store.upsert(collection, foreign, revisions=())
    assert store.read(collection, points.ids) == {points.ids[0]: Stored("", "", "", NOW, 0, {})}
    (there,) = store.payloads(collection, points.ids).values()
    assert kept.record(there) is None
    store.upsert(collection, points, revisions={revision(Document(doi=NUMPY))})
    assert store.read(collection, points.ids)[points.ids[0]].revision == "", "left alone"
    store.upsert(collection, points, revisions={""})
    assert store.read(collection, points.ids)[points.ids[0]].revision


def test_payloads_and_vectors_are_given_back_whole(store: VectorStore, collection: str) -> None:
    documents = [*bare(DOIS[3:5]), *rich()]
    put(store, collection, documents[:2], NOW)
    put(store, collection, documents[2:], NOW)
    dois = [document.doi for document in documents]
    ids = [point_id(doi) for doi in dois]
    asked = [*ids, point_id("10.1000/182")]
    expected = [payload(document, sequence=NOW) for document in documents]
    assert store.payloads(collection, asked) == dict(zip(ids, expected, strict=True))
    there = store.vectors(collection, asked)
    assert there.keys() == set(ids)
    assert {(v.dtype.name, v.shape) for v in there.values()} == {("float32", (DIMENSION,))}
    np.testing.assert_allclose([there[i] for i in ids], vectors(dois), atol=1e-6)
    assert store.payloads(collection, []) == store.vectors(collection, []) == {}
    whole = store.points(collection, asked)
    assert {i: given for i, (given, _) in whole.items()} == store.payloads(collection, ids)
    assert all(np.array_equal(vector, there[i]) for i, (_, vector) in whole.items())
    titles = store.payloads(collection, asked, fields=["title", "absent"])
    assert titles == {
        i: {"title": d.title} if d.title else {} for i, d in zip(ids, documents, strict=True)
    }


@pytest.mark.parametrize(
    ("revisions", "is_replaced"),
    [((), False), (("theirs",), True), (("theirs", "others"), True), (("others", ""), False)],
)
def test_a_point_is_replaced_only_if_it_has_one_of_the_revisions(
    store: VectorStore, collection: str, *, revisions: Sequence[str], is_replaced: bool
) -> None:
    doi = "10.7717/peerj.453"
    old, new = Document(doi=doi, title="An older title"), Document(doi=doi, **METADATA[doi])
    store.upsert(collection, write([old], job="old"), revisions=())
    known = {"theirs": revision(old), "others": revision(Document(doi=NUMPY)), "": ""}
    turned = write([new], sequence=NOW + 1, job="new")._replace(
        vectors=vectors(["10.5281/zenodo.3509134"])
    )
    store.upsert(collection, turned, revisions={known[name] for name in revisions})
    document, job = (new, "new") if is_replaced else (old, "old")
    (there,) = store.read(collection, [point_id(doi)]).values()
    assert (there.content_hash, there.job) == (document.content_hash, job)
    (hit,) = nearest(store, collection, turned.vectors[0], k=1)
    assert (hit.score > 0.999) == is_replaced, "the vector goes with its payload"
    assert hit.metadata == document.metadata


def test_one_write_inserts_replaces_and_skips(store: VectorStore, collection: str) -> None:
    known, changed, absent = ([doi] for doi in DOIS[:3])
    put(store, collection, bare(known), NOW - 2)
    put(store, collection, bare(changed), NOW - 1)
    read = {revision(Document(doi=doi), sequence=NOW - 2) for doi in (*known, *changed)}
    store.upsert(collection, write(bare([*known, *changed, *absent])), revisions=read)
    there = store.read(collection, [point_id(doi) for doi in DOIS])
    assert {i: stored.sequence for i, stored in there.items()} == {
        point_id(known[0]): NOW,
        point_id(changed[0]): NOW - 1,
        point_id(absent[0]): NOW,
    }


def test_of_concurrent_writes_over_the_same_revision_one_gets_through(
    store: VectorStore, collection: str
) -> None:
    put(store, collection, bare(), NOW)
    read = {revision(document) for document in bare()}
    ids = [point_id(doi) for doi in DOIS]

    def attempt(number: int) -> dict[str, str]:
        points = write(bare(), sequence=NOW + 1 + number, job=f"job-{number}")
        store.upsert(collection, points, revisions=read)
        return {i: there.job for i, there in store.read(collection, ids).items()}

    with ThreadPoolExecutor(THREADS) as pool:
        seen = list(pool.map(attempt, range(40)))
    assert store.count(collection) == len(DOIS)
    assert all(one == seen[0] for one in seen), "whoever reads sees what stands for good"
    assert all(job != "job-a" for job in seen[0].values())


def test_delete_removes_older_points_only(store: VectorStore, collection: str) -> None:
    put(store, collection, bare(DOIS[:2]), NOW)
    put(store, collection, bare(DOIS[2:4]), NOW + 1)
    ids = [point_id(doi) for doi in DOIS]
    store.delete(collection, ids, below=NOW + 1)
    assert set(store.ids(collection)) == set(ids[2:4])


def test_search_ranks_by_cosine(store: VectorStore, collection: str) -> None:
    put(store, collection, bare(), NOW)
    query = vectors(["10.1103/physrevb.50.17953"])[0]
    cosines = vectors(DOIS) @ query
    hits = nearest(store, collection, query, k=5)
    assert [hit.doi for hit in hits] == [DOIS[i] for i in np.argsort(-cosines)[:5]]
    assert [hit.score for hit in hits] == pytest.approx(np.sort(cosines)[::-1][:5], abs=1e-6)


def test_a_query_may_leave_its_own_point_out(store: VectorStore, collection: str) -> None:
    put(store, collection, bare(), NOW)
    whole = nearest(store, collection, vectors([NUMPY])[0], k=len(DOIS))
    others = nearest(store, collection, vectors([NUMPY])[0], k=20, without=point_id(NUMPY))
    assert [hit.doi for hit in whole] == [NUMPY, *(hit.doi for hit in others)]
    assert sorted(hit.doi for hit in others) == sorted(set(DOIS) - {NUMPY})


PAPERS = [
    Document(doi="10.1038/a1", title="A", year=2014, venue="Nature"),
    Document(doi="10.1038/a2", title="B", year=2015, venue="Nature Methods"),
    Document(doi="10.1038/a3", year=2020, venue="nature"),
    Document(doi="10.10389/a4", title="D", year=2021, venue="Nature"),
    Document(doi="10.1038/a5"),
]
OLDER = Document(doi="10.1038/a6", title="Of a time when nobody wrote what vectors were made of")


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (Filter(), "123456"),
        (Filter(registrant="10.1038"), "12356"),
        (Filter(registrant="10.10"), ""),
        (Filter(venue="Nature"), "14"),
        (Filter(venue="NATURE"), ""),
        (Filter(years=Years(2015, 2020)), "23"),
        (Filter(years=Years(2015, 2015)), "2"),
        (Filter(years=Years(2015, None)), "234"),
        (Filter(years=Years(None, 2015)), "12"),
        (Filter(of_text=True), "1246"),
        (Filter(of_text=False), "35"),
        (Filter("10.1038", "Nature", Years(None, 2020), of_text=True), "1"),
    ],
    ids=str,
)
def test_a_query_is_answered_by_what_its_filter_allows(
    store: VectorStore, collection: str, only: Filter, expected: str
) -> None:
    points = write([*PAPERS, OLDER])
    *payloads, older = points.payloads
    payloads.append({name: value for name, value in older.items() if name != "text_from"})
    store.upsert(collection, points._replace(payloads=payloads), revisions=())
    hits = nearest(store, collection, points.vectors[0], k=10, only=only)
    assert sorted(hit.doi[-1] for hit in hits) == list(expected)


@pytest.mark.parametrize("k", [1, 5, 10_000])
def test_many_queries_are_answered_in_their_order(
    store: VectorStore, collection: str, k: int
) -> None:
    put(store, collection, bare(), NOW)
    asked = [
        Query(vector, Filter(registrant=registrant(doi)))
        for doi, vector in zip(DOIS, vectors(DOIS), strict=True)
    ] * 12
    found = store.query(collection, asked, k=k)
    assert [hits[0].doi for hits in found] == list(DOIS) * 12
    assert all(registrant(hit.doi) == registrant(hits[0].doi) for hits in found for hit in hits)
    assert store.query(collection, [], k=k) == []


def test_hits_carry_the_metadata(store: VectorStore, collection: str) -> None:
    put(store, collection, rich(), NOW)
    (hit,) = nearest(store, collection, vectors([NUMPY])[0], k=1)
    assert (hit.doi, hit.metadata) == (NUMPY, METADATA[NUMPY])


def test_a_query_of_another_dimension_is_rejected(store: VectorStore, collection: str) -> None:
    put(store, collection, bare(), NOW)
    with pytest.raises(StoreRejected):
        nearest(store, collection, vectors([NUMPY], dimension=8)[0], k=3)


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.read("absent", [point_id(NUMPY)]),
        lambda s: s.upsert("absent", write(bare()), revisions=()),
        lambda s: s.delete("absent", [point_id(NUMPY)], below=NOW),
        lambda s: s.query("absent", [Query(vectors([NUMPY])[0])], k=1),
        lambda s: s.count("absent"),
        lambda s: list(s.ids("absent")),
        lambda s: list(s.scan("absent", ["doi"])),
        lambda s: s.payloads("absent", [point_id(NUMPY)]),
        lambda s: s.vectors("absent", [point_id(NUMPY)]),
        lambda s: s.points("absent", [point_id(NUMPY)]),
        lambda s: s.finish("absent"),
    ],
    ids=[
        *("read", "upsert", "delete", "query", "count", "ids"),
        *("scan", "payloads", "vectors", "points", "finish"),
    ],
)
def test_a_missing_collection_is_named_as_such(
    store: VectorStore, call: Callable[[VectorStore], object]
) -> None:
    with pytest.raises(CollectionMissing):
        call(store)
    assert store.live("absent") is None


@pytest.mark.parametrize("poison", ["surrogate", "number", "nan", "infinite", "dimension"])
def test_poison_is_rejected_and_leaves_the_store_usable(
    store: VectorStore, collection: str, settings: QdrantSettings, tmp_path: Path, *, poison: str
) -> None:
    points = write(bare([NUMPY]))
    change: dict[str, Any] = {
        "surrogate": {"payloads": [{**points.payloads[0], "title": "\ud800"}]},
        "number": {"payloads": [{**points.payloads[0], "year": 2**70}]},
        "nan": {"vectors": np.full_like(points.vectors, np.nan)},
        "infinite": {"vectors": np.full_like(points.vectors, np.inf)},
        "dimension": {"vectors": vectors([NUMPY], dimension=8)},
    }
    with pytest.raises(StoreRejected):
        store.upsert(collection, points._replace(**change[poison]), revisions=())
    assert store.count(collection) == 0
    put(store, collection, bare(), NOW)
    store.close()
    again = open_store(settings, data_dir=tmp_path)
    assert again.count(collection) == len(DOIS)
    again.close()


def test_records_of_a_mebibyte_are_stored(store: VectorStore, collection: str) -> None:
    documents = [Document(doi=doi, abstract=doi[-1] * (MIB - 1024)) for doi in DOIS]
    put(store, collection, documents, NOW)
    there = store.read(collection, [point_id(doi) for doi in DOIS])
    assert {s.content_hash for s in there.values()} == {d.content_hash for d in documents}


def test_what_was_stored_is_there_after_reopening(settings: QdrantSettings, tmp_path: Path) -> None:
    name = f"dois-{uuid.uuid4().hex[:16]}"
    first = open_store(settings, data_dir=tmp_path)
    first.create(name, dimension=DIMENSION)
    first.publish([f"a-{name}"], collection=name)
    put(first, name, bare(), NOW)
    first.close()
    second = open_store(settings, data_dir=tmp_path)
    assert second.live(f"a-{name}") == name
    assert set(second.ids(name)) == {point_id(doi) for doi in DOIS}
    second.close()


def test_finish_changes_no_answer(store: VectorStore, collection: str) -> None:
    put(store, collection, bare(), NOW)
    before = nearest(store, collection, vectors([NUMPY])[0], k=5)
    store.finish(collection)
    assert nearest(store, collection, vectors([NUMPY])[0], k=5) == before


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ((), [1100]),
        (("doi", "content_hash", "sequence"), [1100]),
        (("doi", "title", "abstract", "year", "venue"), [1024, 76]),
    ],
)
def test_a_scan_gives_every_point_once_in_pages(
    store: VectorStore, collection: str, fields: tuple[str, ...], sizes: list[int]
) -> None:
    documents = [Document(doi=f"10.1000/{n}", title=f"Of {n}", year=n) for n in range(1100)]
    put(store, collection, documents, NOW)
    pages = list(store.scan(collection, fields))
    assert [len(page) for page in pages] == sizes
    payloads = {point_id(d.doi): payload(d, sequence=NOW) for d in documents}
    assert dict(chain.from_iterable(pages)) == {
        i: {name: value for name, value in given.items() if name in fields}
        for i, given in payloads.items()
    }


@pytest.mark.skipif(not SHARED_DOIS.exists(), reason="the shared data is not here")
def test_ids_and_count_over_several_pages(store: VectorStore, collection: str) -> None:
    with SHARED_DOIS.open() as lines:
        dois = [line.strip().lower() for line, _ in zip(lines, range(10_500), strict=False)]
    for start in range(0, len(dois), 3500):
        put(store, collection, bare(dois[start : start + 3500]), NOW)
    ids = list(store.ids(collection))
    assert len(ids) == store.count(collection) == len(dois)
    assert set(ids) == {point_id(doi) for doi in dois}
    assert len(store.read(collection, ids)) == len(dois)
    store.delete(collection, ids, below=NOW + 1)
    assert store.count(collection) == 0


def test_a_collection_says_of_which_deployment_it_is(store: VectorStore, collection: str) -> None:
    assert store.deployment(collection) is None
    for deployment in ("first", "second"):
        store.assign(collection, deployment=deployment)
        assert store.deployment(collection) == deployment
