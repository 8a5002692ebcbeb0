"""The index: what is kept is found, whoever reads meanwhile, and damage is told."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.document import Document
from tests.support.disk import small_disk
from worker.errors import IndexRejected, IndexUnavailable
from worker.metadata import bodies, database
from worker.metadata.answers import Answer, Answers
from worker.metadata.index import Index

DOI, OTHER = "10.1000/a", "10.1000/b"
NOW = 1_000.0


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "metadata.sqlite")


def answer(doi: str = DOI, *, dated: int = 0, **fields: Any) -> Answer:
    return Answer(Document(doi=doi, **fields), dated)


def keep(index: Index, source: str, *found: Answer, absent: str = "", until: float = 2000) -> None:
    answers = Answers({one.document.doi: one for one in found}, {absent} - {""})
    dois = [*answers.found, *answers.absent]
    index.keep(source, answers, asked_at=NOW, until=dict.fromkeys(dois, until))


def many(count: int) -> list[Answer]:
    return [
        answer(f"10.1000/{n}", title=f"The {n}th study of {n % 97} things", year=1900 + n % 100)
        for n in range(count)
    ]


def test_an_index_that_is_not_there_knows_nothing(index: Index) -> None:
    assert index.find([DOI]) == {}
    assert index.to_ask([DOI, OTHER], "crossref", now=NOW) == [DOI, OTHER]
    assert (index.counts(now=NOW), index.files(), index.recall("a"), index.size()) == (
        {},
        {},
        {},
        0,
    )
    assert not index.path.exists()


def test_what_an_earlier_source_has_is_not_said_again(index: Index) -> None:
    keep(index, "openalex", answer(title="Of OpenAlex", abstract="An abstract", year=2001))
    keep(index, "crossref", answer(title="Of Crossref", year=2000))
    keep(index, "datacite", answer(title="Of DataCite"))
    assert index.find([OTHER, DOI]) == {
        DOI: [
            Document(doi=DOI, title="Of Crossref", year=2000, source="crossref"),
            Document(doi=DOI, abstract="An abstract", source="openalex"),
        ]
    }


def test_a_record_without_a_title_is_known_and_says_nothing(index: Index) -> None:
    keep(index, "crossref", answer(), absent=OTHER)
    assert index.find([DOI, OTHER]) == {}
    assert index.to_ask([DOI, OTHER], "crossref", now=NOW) == []
    counts = index.counts(now=NOW)
    assert (counts["crossref"].found, counts["crossref"].absent) == (1, 1)


def test_what_holds_no_longer_is_asked_again(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"), absent=OTHER, until=NOW + 10)
    assert index.to_ask([DOI, OTHER], "crossref", now=NOW + 9) == []
    assert index.to_ask([DOI, OTHER], "crossref", now=NOW + 10) == [DOI, OTHER]
    assert index.to_ask([DOI, DOI], "openalex", now=NOW) == [DOI]
    assert index.counts(now=NOW + 10)["crossref"].due == 1, "what has a title is not asked for"
    assert index.find([DOI])  # it is old, and better than none


def test_an_older_record_replaces_none_and_holds_anew(index: Index) -> None:
    keep(index, "crossref", answer(title="New", dated=20), until=NOW)
    keep(index, "crossref", answer(title="Old", dated=10), until=NOW + 100)
    (entry,) = index.entries([DOI])[DOI]
    assert entry.document
    assert (entry.document.title, entry.dated, entry.until) == ("New", 20, NOW + 100)
    keep(index, "crossref", answer(title="Newer", dated=30))
    assert index.find([DOI])[DOI][0].title == "Newer"


def test_what_is_not_found_any_more_erases_nothing(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"))
    keep(index, "crossref", absent=DOI, until=5000)
    assert index.find([DOI])[DOI][0].title == "A title"
    assert index.entries([DOI])[DOI][0].until == 5000
    keep(index, "openalex", absent=DOI)
    keep(index, "openalex", answer(title="Another"))
    assert index.counts(now=NOW)["openalex"] == (1, 0, 0)


def test_forgotten_is_forgotten(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"), answer(OTHER, title="B"))
    keep(index, "openalex", absent=DOI)
    assert index.forget([DOI, DOI, "10.1000/z"]) == 1
    assert list(index.find([DOI, OTHER])) == [OTHER]
    assert [index.counts(now=NOW)[name][:2] for name in ("crossref", "openalex")] == [
        (1, 0),
        (0, 0),
    ]


def test_values_are_remembered(index: Index) -> None:
    index.remember({"agency 10.1000": ["Crossref", 5], "blocked crossref": 7.5})
    index.remember({"blocked crossref": None})
    Index(index.path).remember({})
    assert index.recall("agency 10.1000", "blocked crossref", "x") == {
        "agency 10.1000": ["Crossref", 5],
        "blocked crossref": None,
    }


def test_what_older_dictionaries_made_stays_readable(index: Index) -> None:
    first = many(bodies.FEWEST_SAMPLES)
    keep(index, "crossref", *first)  # without one; enough to learn the first
    assert index.learned() == len(first)
    keep(index, "crossref", answer(OTHER, title="The 5th study of 9 things"))
    samples = [bodies.text(one.document) for one in many(2 * bodies.FEWEST_SAMPLES)]
    assert index.dictionary(samples).number == 2
    assert index.dictionary(samples[:-1]).number == 2, "it was made of more"
    keep(index, "openalex", answer(DOI, title="The 7th study of 9 things"))
    dois = [OTHER, DOI, *(one.document.doi for one in first)]
    assert len(index.find(dois)) == len(dois)


def test_threads_read_while_one_writes(index: Index) -> None:
    keep(index, "crossref", *many(3000))

    def look(n: int) -> bool:
        found = index.find([f"10.1000/{i}" for i in range(n, n + 200)])
        return all(len(documents) == 1 for documents in found.values()) and len(found) == 200

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, n) for n in range(0, 2000, 100)]
        for n in range(5):
            keep(index, "openalex", answer(f"10.1000/new{n}", title="New"))
        assert all(one.result() for one in looks)


def contents(path: Path) -> list[bytes]:
    """A file in ways in which it may be damaged."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    return [
        whole[: middle // 4096 * 4096 - 1000],
        b"\0" * 4096 + whole[4096:],
        whole[:100] + b"\xff" * 3000 + whole[3100:],
        *(whole[:at] + bytes(64) + whole[at + 64 :] for at in range(4096, len(whole), 20_000)),
    ]


def test_damage_is_told_and_gives_no_wrong_answer(index: Index) -> None:
    records = many(bodies.FEWEST_SAMPLES)
    keep(index, "crossref", *records)
    dois = [one.document.doi for one in records[::9]]
    truth = {one.document.doi: one.document.title for one in records}
    told = 0
    for content in contents(index.path):
        index.path.write_bytes(content)
        try:
            found = Index(index.path).find(dois)
        except (IndexRejected, IndexUnavailable):
            told += 1
        else:
            assert all(documents[0].title == truth[doi] for doi, documents in found.items())
    assert told >= 3


@pytest.mark.parametrize("content", [b"no index at all, " * 100, b"\x1f\x8b" + bytes(5000), b"x"])
def test_a_file_of_another_kind_is_refused(index: Index, content: bytes) -> None:
    index.path.write_bytes(content)
    for use in (lambda: index.find([DOI]), lambda: keep(index, "crossref", answer())):
        with pytest.raises(IndexRejected, match="no index"):
            use()
    assert index.path.read_bytes() == content


def test_an_empty_file_is_an_index_to_be(index: Index) -> None:
    index.path.touch()
    assert index.find([DOI]) == {}
    keep(index, "crossref", answer(title="A title"))
    assert index.find([DOI])


def test_another_programs_database_is_refused(index: Index) -> None:
    with closing(sqlite3.connect(index.path)) as db:
        db.execute("CREATE TABLE records (a)")
    for use in (lambda: index.find([DOI]), lambda: keep(index, "crossref", answer())):
        with pytest.raises(IndexRejected, match="another program's file"):
            use()


def test_a_newer_index_is_refused(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"))
    with closing(sqlite3.connect(index.path)) as db:
        db.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    with pytest.raises(IndexRejected, match="newer doivec"):
        index.find([DOI])


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=1) as disk:
        index = Index(disk.path / "metadata.sqlite")
        keep(index, "crossref", answer(title="A title"))
        with pytest.raises(IndexUnavailable, match="full"):
            keep(index, "openalex", *many(12_000))
        assert index.counts(now=NOW)["openalex"] == (0, 0, 0)
        disk.resize(40)
        keep(index, "openalex", *many(10))
        assert len(index.find([DOI, "10.1000/1"])) == 2


def test_a_disk_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mib=10) as disk:
        index = Index(disk.path / "metadata.sqlite")
        keep(index, "crossref", answer(title="A title"))
        disk.freeze()
        assert index.find([DOI])[DOI][0].title == "A title"
        with pytest.raises(IndexUnavailable):
            index.forget([DOI])


def test_an_index_that_is_just_being_made_knows_nothing(index: Index) -> None:
    with closing(sqlite3.connect(index.path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert index.path.stat().st_size
    assert index.find([DOI]) == {}
    keep(index, "crossref", answer(title="A title"))
    assert index.find([DOI])


def test_a_lock_that_is_held_is_told(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"))
    with closing(sqlite3.connect(index.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert index.find([DOI])
        with pytest.raises(IndexUnavailable, match="another process"):
            Index(index.path, wait_s=0.01).forget([DOI])


def test_a_folder_in_place_of_the_index_is_told(tmp_path: Path) -> None:
    with pytest.raises(IndexUnavailable):
        Index(tmp_path).find([DOI])
    (tmp_path / "file").touch()
    with pytest.raises(IndexUnavailable):
        keep(Index(tmp_path / "file" / "metadata.sqlite"), "crossref", answer())


def keys() -> Iterator[bodies.Key]:
    return (bodies.Key.of(doi) for doi in (DOI, OTHER))


def test_another_dois_record_under_the_same_hash_is_no_answer(index: Index) -> None:
    keep(index, "crossref", answer(title="A title"))
    first, second = keys()
    with closing(sqlite3.connect(index.path, isolation_level=None)) as db:
        db.execute("UPDATE records SET key = ?", [second.hash << 3 | 1])
    assert first.hash != second.hash
    assert index.find([DOI, OTHER]) == {}
