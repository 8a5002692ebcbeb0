"""Snapshots into the index: what is newer stands, what is done stays done, kills lose nothing."""

import gzip
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.document import Document
from tests.support.disk import small_disk
from worker.errors import Busy, IndexUnavailable
from worker.files import locked
from worker.metadata.bodies import Key, Packer
from worker.metadata.entries import NO_DICTIONARY, File
from worker.metadata.index import Index, position
from worker.metadata.indexing import Indexing, Options, Progress, Summary
from worker.metadata.runs import RunWriter, merge, runs
from worker.settings.ingest import LimitSettings

NOW = 1_000.0


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "data" / "metadata.sqlite")


def work(n: int, *, title: str = "A title", dated: int = 5) -> dict[str, Any]:
    return {
        "DOI": f"10.1000/{n}",
        "title": [f"{title} {n}"],
        "abstract": "<jats:p>Some words</jats:p>",
        "indexed": {"timestamp": dated * 1000},
    }


def snapshot(path: Path, works: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in works).encode()))
    return path


def run(
    index: Index, *sources: Path, shown: list[Progress] | None = None, **options: Any
) -> Summary:
    indexing = Indexing(index, limits=LimitSettings(), now=NOW)
    seen = [] if shown is None else shown
    return indexing.run([str(one) for one in sources], Options(**options), show=seen.append)


def title(index: Index, n: int) -> str | None:
    found = index.find([f"10.1000/{n}"]).get(f"10.1000/{n}")
    return found[0].title if found else None


def test_files_are_indexed_once_and_newer_records_stand(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "snapshot"
    for number in range(3):
        snapshot(
            folder / f"{number}.jsonl.gz", [work(n) for n in range(10 * number, 10 * number + 10)]
        )
    shown: list[Progress] = []
    done = run(index, folder, jobs=2, shown=shown)
    assert [(one.read, one.kept, one.trouble) for one in done.outcomes] == [(10, 10, "")] * 3
    assert {one.step for one in shown} == {"reading", "merging"}
    assert shown[-1].done == shown[-1].total == 30
    assert (title(index, 0), title(index, 29), title(index, 30)) == (
        "A title 0",
        "A title 29",
        None,
    )
    assert index.entries(["10.1000/0"])["10.1000/0"][0].until is None
    snapshot(
        folder / "3.jsonl.gz", [work(0, title="Older", dated=4), work(1, title="New", dated=6)]
    )
    done = run(index, folder)
    assert (done.before, len(done.outcomes)) == (3, 1), "the others are not read again"
    assert (title(index, 0), title(index, 1)) == ("A title 0", "New 1")
    assert index.counts(now=NOW)["crossref"] == (30, 0, 0)
    snapshot(folder / "0.jsonl.gz", [work(n, dated=9) for n in range(9)])
    assert run(index, folder).before == 3, "it has changed"
    assert not list(index.path.parent.glob("*.runs"))


def test_only_what_a_list_names_and_no_abstracts(tmp_path: Path, index: Index) -> None:
    path = snapshot(tmp_path / "0.jsonl.gz", [work(n) for n in range(10)])
    done = run(index, path, only=iter(["10.1000/3", "10.1000/7", "10.1000/99"]), abstracts=False)
    assert (done.outcomes[0].kept, done.outcomes[0].unwanted) == (2, 8)
    (found,) = index.find(["10.1000/3"])["10.1000/3"]
    assert (found.title, found.abstract) == ("A title 3", None)
    assert title(index, 4) is None
    again = run(index, path, abstracts=True)
    assert (again.before, again.outcomes[0].kept) == (0, 10), "another scope is another reading"
    assert index.find(["10.1000/3"])["10.1000/3"][0].abstract == "Some words"
    assert run(index, path, only=["10.1000/3"]).before == 1, "it is a part of what is there"


def test_what_cannot_be_read_is_told_and_tried_again(tmp_path: Path, index: Index) -> None:
    good = snapshot(tmp_path / "s" / "0.jsonl.gz", [work(0)])
    chosen = Random(1)
    works = [work(n, title=f"{chosen.getrandbits(2000):x}") for n in range(1, 600)]
    bad = snapshot(tmp_path / "s" / "1.jsonl.gz", works)
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    authors = snapshot(tmp_path / "s" / "2.jsonl.gz", [{"id": "https://openalex.org/A1"}])
    done = {one.part.at: one for one in run(index, tmp_path / "s").outcomes}
    assert "too early" in done[bad].trouble
    assert done[authors].passed
    assert done[good].kept == 1
    assert title(index, 1), "what could be read of it is there"
    bad.write_bytes(whole)
    again = run(index, tmp_path / "s")
    assert [one.part.at for one in again.outcomes] == [bad]
    assert again.before == 2
    assert title(index, 599)


def test_names_are_any_bytes_and_archives_are_done_when_all_of_them_is(
    tmp_path: Path, index: Index
) -> None:
    odd = snapshot(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff::.jsonl.gz")), [work(0)])
    member = snapshot(tmp_path / "1.jsonl.gz", [work(1)])
    cut = tmp_path / "2.jsonl.gz"
    cut.write_bytes(member.read_bytes()[:-9])
    archives = {"good.tar.gz": member, "bad.tar.gz": cut}
    for name, held in archives.items():
        with tarfile.open(tmp_path / name, "w:gz") as made:
            made.add(held, arcname=b"x/\xff.jsonl.gz".decode(errors="surrogateescape"))
    sources = [odd, *(tmp_path / name for name in archives)]
    done = run(index, *sources)
    assert [bool(one.trouble) for one in done.outcomes] == [False, False, True]
    assert (title(index, 0), title(index, 1)) == ("A title 0", "A title 1")
    again = run(index, *sources)
    assert (again.before, len(again.outcomes)) == (2, 1)


def test_one_at_a_time(tmp_path: Path, index: Index) -> None:
    path = snapshot(tmp_path / "0.jsonl.gz", [work(0)])
    lock = index.path.with_name("metadata.sqlite.runs") / "indexing.lock"
    with locked(lock), pytest.raises(Busy):
        run(index, path)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = snapshot(tmp_path / "0.jsonl.gz", [work(n, title="x" * 900) for n in range(1500)])
    with small_disk(tmp_path / "disk", mib=1) as disk:
        index = Index(disk.path / "metadata.sqlite")
        disk.fill(leaving_mib=0)
        with pytest.raises(IndexUnavailable, match=r"(?i)no space|full"):
            run(index, path)
        (disk.path / "filling").unlink()
        disk.resize(20)
        run(index, path)
        assert title(index, 1499)


def written(folder: Path, documents: Sequence[Document], *, dated: int, file: str) -> None:
    folder.mkdir(exist_ok=True)
    writer, packer = RunWriter(folder), Packer(*NO_DICTIONARY[::2])
    for document in documents:
        key = Key.of(document.doi)
        writer.add(position(key, "crossref"), dated, packer.body(key, document))
    writer.write([File(file, "all", 1, 2, len(documents), 3)])


def documents(count: int, title: str) -> list[Document]:
    return [Document(doi=f"10.1000/{n}", title=f"{title} {n}") for n in range(count)]


def test_a_merge_that_is_cut_off_anywhere_is_completed(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "runs"
    written(folder, documents(300, "Older"), dated=1, file="a")
    written(folder, documents(200, "Newer"), dated=2, file="b")
    for steps in (1, 4, 7):
        merging = merge(runs(folder), index.path, now=NOW, at_once=50)
        for _ in range(steps):
            next(merging)
        merging.close()
        assert (len(runs(folder)), index.files()) == (2, {})
    assert sum(merge(runs(folder), index.path, now=NOW, at_once=50)) == 500
    assert (runs(folder), len(index.files())) == ([], 2)
    assert index.counts(now=NOW)["crossref"] == (300, 0, 0)
    assert (title(index, 199), title(index, 200)) == ("Newer 199", "Older 200")


def test_a_run_that_the_disk_lost_says_nothing_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    written(folder, documents(30, "A title"), dated=1, file="a")
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole[: len(whole) // 2], bytes(len(whole)), whole + b"x"):
        path.write_bytes(content)
        assert runs(folder) == []


def test_runs_of_an_index_that_is_gone_are_not_merged_into_another(
    tmp_path: Path, index: Index
) -> None:
    done = snapshot(tmp_path / "snapshot" / "a.jsonl.gz", [work(1)])
    run(index, snapshot(tmp_path / "other" / "b.jsonl.gz", [work(2)]))
    folder = index.path.with_name(f"{index.path.name}.runs")
    folder.mkdir(exist_ok=True)
    (folder / "index").write_text("another one's")
    size, mtime_ns = done.stat().st_size, done.stat().st_mtime_ns
    RunWriter(folder).write([File(str(done), "without abstracts", size, mtime_ns, 1, 1)])
    assert run(index, done, abstracts=False).before == 0
    assert title(index, 1) == "A title 1"
