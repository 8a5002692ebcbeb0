"""Files of snapshots: their records are told by what they hold, whatever they are packed in."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zstandard import ZstdCompressor

from schemas.job import Rejection
from worker.errors import NoRecord, SourceError
from worker.metadata.answers import Answer
from worker.metadata.snapshots import in_a_file, listing, parts, records
from worker.settings.ingest import LimitSettings

CROSSREF = [
    {"DOI": f"10.1000/C{n}", "title": [f"Of Crossref, {n}"], "indexed": {"timestamp": n * 1000}}
    for n in range(1, 4)
]
OPENALEX = [
    {
        "id": f"https://openalex.org/W{n}",
        "doi": f"https://doi.org/10.1000/o{n}" if n < 3 else None,
        "title": f"Of OpenAlex, {n}",
        "updated_date": "2025-01-02",
        "abstract_inverted_index": {"words": [1], "Some": [0]},
    }
    for n in range(1, 4)
]
DATACITE = [
    {"id": f"10.5061/d{n}", "type": "dois", "attributes": {"titles": [{"title": f"Data {n}"}]}}
    for n in range(1, 4)
]
EXPORTED = [
    {"doi": f"10.1000/e{n}", "title": f"Exported, {n}", "year": 2000, "revision": "x", "fields": {}}
    for n in range(1, 4)
]
Pack = Callable[[list[dict[str, Any]]], bytes]


def lines(found: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in found).encode()


def items(found: list[dict[str, Any]]) -> bytes:
    return json.dumps({"items": found}).encode()


def read(path: Path) -> list[Answer | Rejection | None]:
    return list(records(path, mtime_s=7, limits=LimitSettings()))


def titles(found: list[Answer | Rejection | None]) -> list[tuple[str, str | None]]:
    documents = [one.document for one in found if isinstance(one, Answer)]
    return [(document.source, document.title) for document in documents]


@pytest.mark.parametrize(
    ("source", "found", "count"),
    [
        ("crossref", CROSSREF, 3),
        ("openalex", OPENALEX, 2),
        ("datacite", DATACITE, 3),
        ("file", EXPORTED, 3),
    ],
)
@pytest.mark.parametrize("pack", [lines, items])
@pytest.mark.parametrize("suffix", ["jsonl.gz", "json.zst", "jsonl"])
def test_records_are_told_by_what_they_hold(
    tmp_path: Path, source: str, found: list[dict[str, Any]], count: int, pack: Pack, suffix: str
) -> None:
    path = tmp_path / f"part_000.{suffix}"
    content = pack(found)
    packed = {".gz": gzip.compress, ".zst": ZstdCompressor().compress}
    path.write_bytes(packed.get(path.suffix, bytes)(content))
    told = titles(read(path))
    assert [name for name, _ in told] == [source] * count
    assert told[0][1] in {"Of Crossref, 1", "Of OpenAlex, 1", "Data 1", "Exported, 1"}


def test_parquet_is_read(tmp_path: Path) -> None:
    table = pa.table({"doi": ["10.1000/E1", None], "title": ["Exported", "Of no DOI"]})
    pq.write_table(table, tmp_path / "papers.parquet")
    found = read(tmp_path / "papers.parquet")
    assert titles(found) == [("file", "Exported")]
    assert found[1] is None
    assert found[0]
    assert isinstance(found[0], Answer)
    assert found[0].dated == 7


def test_one_bad_line_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    bad = [b'{"DOI": \n', b"\xff\xfe\n", b"[]\n", b"7\n", b'{"title": "Of no DOI"}\n', b"{}\n"]
    path.write_bytes(lines(CROSSREF[:1]) + b"".join(bad) + lines(CROSSREF[1:]))
    found = read(path)
    assert len(titles(found)) == 3
    assert [one.line for one in found if isinstance(one, Rejection)] == [2, 3, 4, 5]
    assert found.count(None) == 2


def test_a_cut_file_is_told_behind_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl.gz"
    whole = gzip.compress(lines(CROSSREF * 2000))
    path.write_bytes(whole[: len(whole) // 2])
    found = []
    with pytest.raises(SourceError, match="ends too early"):
        found.extend(records(path, mtime_s=0, limits=LimitSettings()))
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="empty"):
        read(path)


def test_openalexs_authors_are_no_works(tmp_path: Path) -> None:
    path = tmp_path / "part_000.gz"
    path.write_bytes(gzip.compress(lines([{"id": "https://openalex.org/A1", "doi": None}])))
    with pytest.raises(NoRecord, match="A1, which is no work"):
        read(path)


def test_folders_are_searched_for_files_that_may_hold_records(tmp_path: Path) -> None:
    names = ["a/updated_date=2025-01-01/part_000.gz", "b/0.json.gz", "b/x.parquet", "c.tar.gz"]
    others = ["a/manifest", "README.md", "dois/2024-01.csv.gz", "x.torrent", "MD5SUMS", ".x.json"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = listing([str(tmp_path)])
    assert found.files == sorted(tmp_path / name for name in names)
    assert {path.name for path in found.passed} == {Path(name).name for name in others}
    assert listing([str(tmp_path / "README.md")]).files == [tmp_path / "README.md"], "it is named"
    with pytest.raises(SourceError, match="no such"):
        listing([str(tmp_path / "x")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file"):
        listing([str(tmp_path / "empty")])


def archive(path: Path, members: dict[str, bytes], *, mode: str) -> Path:
    with tarfile.open(path, mode) as made:
        for name, content in members.items():
            facts = tarfile.TarInfo(name)
            facts.size = len(content)
            made.addfile(facts, io.BytesIO(content))
    return path


def members(path: Path, folder: Path) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    folder.mkdir(exist_ok=True)
    for part in parts(path, folder=folder, wants=lambda part: "unwanted" not in part.name):
        with in_a_file(part, folder=folder) as file:
            yield part.name.partition("::")[2], titles(read(file))
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_members_of_archives_are_files(tmp_path: Path, name: str, mode: str) -> None:
    packed = gzip.compress(lines(CROSSREF))
    held = {
        "x/0.jsonl.gz": packed,
        "x/README.md": b"nothing",
        "x/unwanted.jsonl.gz": packed,
        "../../outside.json": items(CROSSREF[:1]),
    }
    path = archive(tmp_path / name, held, mode=mode)  # type: ignore[arg-type]
    found = dict(members(path, tmp_path / "unpacked"))
    assert {name: len(records) for name, records in found.items()} == {
        "x/0.jsonl.gz": 3,
        "../../outside.json": 1,
    }
    assert not list(tmp_path.glob("*outside*"))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_a_cut_archive_is_told(tmp_path: Path, name: str, mode: str) -> None:
    held = {f"{n}.jsonl.gz": gzip.compress(lines(CROSSREF * 90), 0) for n in range(3)}
    path = archive(tmp_path / name, held, mode=mode)  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"damaged archive|ends too early"):
        list(members(path, tmp_path / "unpacked"))
