"""Held-out sets are frozen: the same one for every model, whatever is imported later."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import Document
from schemas.pair import LabelledPair
from tests.support.paths import DATA
from tests.support.strategies import LABELLED_PAIRS
from trainer.data.held_out import HeldOutSet, HeldOutStore, identified
from trainer.data.metadata import MetadataStore
from trainer.data.pair_files import read
from trainer.data.pairs import Dataset, PairStore
from trainer.data.proposal import propose
from trainer.data.shards import digest
from trainer.data.split import dois, footprint, touched, training_part
from trainer.errors import HeldOutUnknown, PairsError
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.settings.training import PairSettings

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not here")
REAL = ("pairs_seedlike.csv", "pairs.csv.xz")
CITED = {n: f"10.2000/{n}" for n in range(300)}


def group(name: str, cited: range, *, source: str = "one") -> list[LabelledPair]:
    return [LabelledPair(f"10.1000/{name}", CITED[n], n % 2, source, name) for n in cited]


PAIRS = [pair for n in range(20) for pair in group(f"g{n}", range(10 * n, 10 * n + 12))]
DATASET = Dataset("a version", ("a shard",), PAIRS)
TITLED = {doi: Document(doi=doi, title=f"Title of {doi}", year=2000) for doi in CITED.values()}


def freeze(root: Path, **options: object) -> HeldOutSet:
    arguments = {"share": 0.2, "corpus": 40, **options}
    return HeldOutStore(root).keep(propose(DATASET, TITLED, **arguments))


def lines(folder: Path, name: str, records: list[dict]) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


# Held-out sets


def test_what_is_frozen_is_loaded_as_it_was(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, apart=["retractionwatch", "another"])
    assert HeldOutStore(tmp_path).load() == frozen
    assert HeldOutStore(tmp_path).load(frozen.id[:10]) == frozen
    assert HeldOutStore(tmp_path).load("a ver") == frozen, "by its dataset"
    assert frozen.dataset == "a version"
    assert frozen.apart == ("another", "retractionwatch")
    assert len(frozen.groups) == 4
    assert len(frozen.pairs) == 48


def test_every_doi_of_a_pair_has_a_document(tmp_path: Path) -> None:
    frozen = freeze(tmp_path)
    assert frozen.documents.keys() == dois(frozen.pairs)
    assert all(d == TITLED.get(doi, Document(doi=doi)) for doi, d in frozen.documents.items())
    assert {d.is_bare for d in frozen.documents.values()} == {True, False}


def test_the_corpus_is_of_other_documents_and_prefers_titles_outside_the_pairs(
    tmp_path: Path,
) -> None:
    frozen = freeze(tmp_path, corpus=10_000, searched=["10.3000/x", "10.3000/y"])
    found = [document.doi for document in frozen.corpus]
    assert len(set(found)) == len(found)
    assert not set(found) & frozen.documents.keys()
    kinds = [(d.title is None, d.doi in dois(PAIRS)) for d in frozen.corpus]
    assert kinds == sorted(kinds)
    assert set(kinds) == {(False, False), (False, True), (True, False), (True, True)}
    short = freeze(tmp_path, corpus=7, searched=["10.3000/x", "10.3000/y"])
    assert short.corpus == frozen.corpus[:7]


def test_the_corpus_has_nothing_that_is_known_to_belong_with_a_held_out_document(
    tmp_path: Path,
) -> None:
    pairs = group("large", range(290))
    trains = [pair for n in range(290) for pair in group(f"small{n}", range(295, 296))]
    dataset = Dataset("v", (), [*pairs, *trains])
    frozen = HeldOutStore(tmp_path).keep(
        propose(dataset, TITLED, share=1, keep=trains, corpus=10_000)
    )
    assert len(frozen.pairs) == 200
    cut = [pair for pair in pairs if pair not in set(frozen.pairs)]
    searched = {document.doi for document in frozen.corpus}
    assert searched >= {pair.doi_b for pair in cut if not pair.label}
    assert not searched & {pair.doi_b for pair in cut if pair.label}


def test_the_same_set_freezes_to_the_same_id(tmp_path: Path) -> None:
    first = freeze(tmp_path / "1")
    assert freeze(tmp_path / "2") == first
    assert freeze(tmp_path / "1") == first
    assert HeldOutStore(tmp_path / "1").ids() == [first.id]


@pytest.mark.parametrize(
    "options", [{"share": 0.3}, {"corpus": 39}, {"apart": ["one"]}, {"keep": PAIRS[:120]}]
)
def test_another_set_has_another_id_and_is_the_last(tmp_path: Path, options: dict) -> None:
    first, second = freeze(tmp_path), freeze(tmp_path, **options)
    store = HeldOutStore(tmp_path)
    assert store.ids() == [first.id, second.id]
    assert store.load() == second
    assert store.load(first.id) == first


def test_an_unknown_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HeldOutUnknown, match="no held-out set was frozen yet"):
        HeldOutStore(tmp_path).load()
    freeze(tmp_path)
    freeze(tmp_path, share=0.5)
    with pytest.raises(HeldOutUnknown, match="no set 'zz'"):
        HeldOutStore(tmp_path).load("zz")
    with pytest.raises(HeldOutUnknown, match="could be any of"):
        HeldOutStore(tmp_path).load("")


def test_a_set_of_nothing_is_not_frozen(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="no pair can be held out"):
        freeze(tmp_path, keep=PAIRS)
    assert HeldOutStore(tmp_path).ids() == []


@pytest.mark.parametrize("name", ["pairs.parquet", "documents.parquet"])
def test_a_set_with_other_rows_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "held_out" / freeze(tmp_path).id / name
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(PairsError, match="was changed"):
        HeldOutStore(tmp_path).load()


def test_a_set_with_other_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "held_out" / freeze(tmp_path).id / "held_out.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"groups": note["groups"][1:]}))
    with pytest.raises(PairsError, match="was changed"):
        HeldOutStore(tmp_path).load()
    path.write_text("{}")
    with pytest.raises(PairsError, match="was changed"):
        HeldOutStore(tmp_path).load()


def test_what_a_killed_freeze_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "held_out" / ".new").mkdir(parents=True)
    (tmp_path / "held_out" / ".new" / "pairs.parquet").write_bytes(b"half")
    frozen = freeze(tmp_path)
    assert HeldOutStore(tmp_path).load() == frozen
    assert HeldOutStore(tmp_path).ids() == [frozen.id]


ANY_PAIRS = st.lists(
    LABELLED_PAIRS.filter(lambda pair: pair.doi_a != pair.doi_b),
    min_size=1,
    max_size=25,
    unique_by=lambda pair: pair.key,
)


OTHERS = [p for n in range(60) for p in group(f"other{n}", range(n, n + 1), source="two")]


@given(first=ANY_PAIRS, later=ANY_PAIRS, share=st.floats(0.01, 1))
@settings(max_examples=40, deadline=None)
def test_later_imports_change_nothing_and_never_train_on_it(
    first: list[LabelledPair], later: list[LabelledPair], share: float
) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        caps = PairSettings(source_share=1)
        store = PairStore(folder, limits=LimitSettings(), caps=caps)
        given = [pair._asdict() for pair in (*first, *OTHERS)]
        store.import_files([lines(folder, "1.jsonl", given)])
        frozen = HeldOutStore(folder).keep(propose(store.dataset(), {}, share=share))
        store.import_files([lines(folder, "2.jsonl", [pair._asdict() for pair in later])])
        held_out = HeldOutStore(folder).load()
        training = training_part(store.dataset().pairs, held_out)
    assert held_out == frozen
    assert not dois(training.pairs) & dois(held_out.pairs)
    assert not {pair.group for pair in training.pairs} & held_out.groups


def test_a_set_learns_the_titles_that_came_later_where_they_are_asked_for(tmp_path: Path) -> None:
    store = HeldOutStore(tmp_path)
    frozen = store.keep(propose(DATASET, {}, share=0.2, corpus=40))
    assert store.renew(frozen, TITLED, templates=["{doi}"]) == frozen
    assert store.renew(frozen, {}, templates=["{title}", "{doi}"]) == frozen
    learnt = store.renew(frozen, TITLED, templates=["{title}", "{doi}"])
    assert store.load() == learnt != frozen
    assert store.load(frozen.id) == frozen, "it is still there as it was"
    assert (learnt.pairs, learnt.groups) == (frozen.pairs, frozen.groups)
    assert [d.doi for d in learnt.corpus] == [d.doi for d in frozen.corpus]
    for document in (*learnt.documents.values(), *learnt.corpus):
        assert document == TITLED.get(document.doi, Document(doi=document.doi))
    other = {doi: Document(doi=doi, title="Another", venue="V") for doi in TITLED}
    assert store.renew(learnt, other, templates=["{title}"]) == learnt, "what is frozen stays"
    venues = store.renew(learnt, other, templates=["{title} {venue}"])
    assert {d.title for d in venues.documents.values()} == {
        d.title for d in learnt.documents.values()
    }
    assert {d.venue for d in venues.documents.values()} == {None, "V"}


def test_a_set_that_is_frozen_again_is_the_same_with_what_came_since(tmp_path: Path) -> None:
    store = HeldOutStore(tmp_path)
    frozen = store.keep(propose(DATASET, {}, share=0.2, corpus=40))
    more = Dataset(
        "later",
        (),
        [*PAIRS, *(p for n in range(20, 30) for p in group(f"g{n}", range(10 * n - 5, 10 * n)))],
    )
    trained = footprint(training_part(PAIRS, frozen).pairs)
    again = store.keep(propose(more, TITLED, share=0.2, before=frozen, trained=trained, corpus=40))
    assert again.groups > frozen.groups
    assert again.pairs[: len(frozen.pairs)] == frozen.pairs
    assert touched(again.pairs, trained) == 0
    assert any(document.title for document in again.documents.values())
    assert (
        store.keep(propose(more, TITLED, share=0.2, before=again, trained=trained, corpus=40))
        == again
    )


LATER = [pair for n in range(60) for pair in group(f"later{n}", range(200 + n, 203 + n))]


def test_a_renewed_set_is_loaded_as_it_was_and_is_as_old_as_its_questions(tmp_path: Path) -> None:
    store, first = HeldOutStore(tmp_path), freeze(tmp_path)
    assert first.reserve == 0.2
    trained = footprint(training_part([*PAIRS, *LATER], first).pairs)
    more = Dataset("later", (), [*PAIRS, *LATER])
    how = {"share": 0.2, "before": first, "trained": trained, "corpus": 40}
    renewed = store.keep(propose(more, TITLED, renew=True, **how))
    assert HeldOutStore(tmp_path).load() == renewed
    assert set(renewed.retired) == set(first.pairs)
    assert not set(renewed.pairs) & set(first.pairs)
    assert store.since(first.id) < store.since(renewed.id)
    year_ago = datetime.now(UTC) - timedelta(days=365)
    wider = store.keep(propose(more, TITLED, **how | {"share": 0.4}), since=year_ago)
    assert store.since(wider.id) == year_ago
    richer = {doi: Document(doi=doi, title="T", venue="V") for doi in TITLED}
    learnt = store.renew(wider, richer, templates=["{venue}"])
    assert learnt.id != wider.id
    assert store.since(learnt.id) == year_ago, "a text more is no fresh question"
    path = tmp_path / "held_out" / renewed.id / "retired.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(PairsError, match="was changed"):
        store.load(renewed.id)


def test_half_of_what_comes_later_trains_whatever_was_asked_for(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, share=1)
    assert frozen.reserve == 0.5
    trained = {p.group for p in training_part([*PAIRS, *LATER], frozen).pairs}
    assert any(name.startswith("later") for name in trained)


def test_a_set_from_before_there_was_a_reserve_keeps_its_name(tmp_path: Path) -> None:
    found = freeze(tmp_path)._replace(reserve=0.0, exempt=frozenset())
    old = HeldOutStore(tmp_path / "old").keep(identified(found))
    path = tmp_path / "old" / "held_out" / old.id / "held_out.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({k: note[k] for k in note if k not in NEW_KEYS}))
    assert HeldOutStore(tmp_path / "old").load() == old
    head = [old.dataset, sorted(old.groups), old.apart, old.related]
    rows = [
        ("pair", *d.model_dump(exclude={"source", "supplied"}).values())
        for d in old.documents.values()
    ]
    rows += [("corpus", *d.model_dump(exclude={"source", "supplied"}).values()) for d in old.corpus]
    assert old.id == digest([head, *old.pairs, *rows]), "as it was computed then"
    assert HeldOutStore(tmp_path / "old").since(old.id)


NEW_KEYS = {"since", "reserve", "exempt"}

# Metadata

A, B, C = (f"10.1000/{name}" for name in "abc")


def metadata(root: Path) -> MetadataStore:
    return MetadataStore(root, limits=LimitSettings())


def test_records_become_documents(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"doi,title,year\n{A.upper()},First,1999\n{B},Second,\n{C},,\nx,Bad,\n")
    report = metadata(tmp_path).import_files([str(path)])
    assert (report.read, report.added, report.bare, len(report.rejected)) == (4, 2, 1, 1)
    known = {A: Document(doi=A, title="First", year=1999), B: Document(doi=B, title="Second")}
    assert metadata(tmp_path).documents() == known
    assert metadata(tmp_path).documents([B, C]) == {B: known[B]}


def test_the_last_record_counts_and_a_repeat_adds_nothing(tmp_path: Path) -> None:
    store = metadata(tmp_path)
    old = lines(tmp_path, "old.jsonl", [{"doi": A, "title": "Old"}, {"doi": B, "title": "B"}])
    new = lines(tmp_path, "new.jsonl", [{"doi": A, "title": "New"}, {"doi": B}])
    versions = [store.version]
    for path, added in ((old, 2), (new, 1), (new, 0), (old, 1)):
        report = store.import_files([path])
        assert report.added == added
        assert (report.shard is None) == (added == 0)
        versions.append(store.version)
    assert {doi: d.title for doi, d in store.documents().items()} == {A: "Old", B: "B"}
    assert versions[2] == versions[3]
    assert len(set(versions)) == 4


def test_the_order_of_two_versions_of_a_record_is_in_the_version(tmp_path: Path) -> None:
    one = lines(tmp_path, "one.jsonl", [{"doi": A, "title": "One"}])
    two = lines(tmp_path, "two.jsonl", [{"doi": A, "title": "Two"}])
    found = []
    for name, paths in (("1", (one, two)), ("2", (two, one)), ("3", (one, two))):
        store = metadata(tmp_path / name)
        for path in paths:
            store.import_files([path])
        found.append((store.version, store.documents()[A].title))
    assert found[0] == found[2]
    assert found[0][0] != found[1][0]
    assert [title for _, title in found] == ["Two", "One", "Two"]


def test_metadata_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    good = lines(tmp_path, "good.jsonl", [{"doi": A, "title": "One"}])
    with pytest.raises(SourceError):
        metadata(tmp_path).import_files([good, str(tmp_path / "missing.jsonl")])
    assert metadata(tmp_path).documents() == {}


def test_a_metadata_shard_that_was_changed_is_refused(tmp_path: Path) -> None:
    report = metadata(tmp_path).import_files(
        [lines(tmp_path, "m.jsonl", [{"doi": A, "title": "One"}, {"doi": B, "title": "Two"}])]
    )
    path = tmp_path / "metadata" / f"{report.shard}.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(PairsError, match="was changed"):
        metadata(tmp_path).documents()


@needs_data
def test_the_real_pairs_hold_out_without_leaking(tmp_path: Path) -> None:
    kept, pairs = (list(read(str(DATA / name), limits=LimitSettings())) for name in REAL)
    dataset = Dataset("real", (), pairs)
    frozen = HeldOutStore(tmp_path).keep(propose(dataset, {}, share=0.1, keep=kept, corpus=50_000))
    training = training_part(dataset.pairs, frozen)
    assert len(frozen.corpus) == 50_000
    assert len(frozen.pairs) > 10_000
    assert not dois(training.pairs) & dois(frozen.pairs)
    assert not {pair.group for pair in training.pairs} & frozen.groups
    assert set(kept) <= set(training.pairs)
