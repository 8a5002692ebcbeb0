"""Qdrant Edge on a disk that is full: told before anything is written, not by SIGBUS."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schemas.document import Document
from schemas.doi import point_id
from tests.support.disk import Disk, small_disk
from tests.support.vectors import DIMENSION, NOW, bare, write
from worker.errors import CollectionMissing, StoreUnavailable
from worker.store.directory import Directory
from worker.store.edge import OPEN_BYTES, WRITE_BYTES, EdgeStore
from worker.store.protocol import Query

COLLECTION = "dois-a"
WRITE_MIB, OPEN_MIB = WRITE_BYTES // 2**20, OPEN_BYTES // 2**20

HOLES_MIB = 140  # of the sparse files of a small collection: opening it may fill them


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", mib=300) as made:
        yield made


def test_what_is_free_is_compared_with_what_is_needed(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.require(1)
    with pytest.raises(StoreUnavailable, match=f"{tmp_path} has .* MiB left, .* make room there"):
        directory.require(2**62)
    directory.close()


def test_a_full_disk_is_told_before_anything_is_written(disk: Disk) -> None:
    documents = [Document(doi=f"10.1000/{n}") for n in range(1024)]
    with closing(EdgeStore(disk.path / "edge", options={})) as store:
        store.create(COLLECTION, dimension=DIMENSION)
        store.upsert(COLLECTION, write(bare()), revisions=())
        disk.fill(leaving_mib=WRITE_MIB - 1)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            store.create("dois-b", dimension=DIMENSION)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            store.upsert(COLLECTION, write(documents), revisions=())
        with pytest.raises(StoreUnavailable, match="disk is full"):
            store.delete(COLLECTION, [point_id(bare()[0].doi)], below=NOW + 1)
        with pytest.raises(CollectionMissing):
            store.count("dois-b")
        assert store.count(COLLECTION) == len(bare())
        disk.resize(600)
        store.upsert(COLLECTION, write(documents), revisions=())
        assert store.count(COLLECTION) == len(bare()) + len(documents)


def test_a_store_on_a_nearly_full_disk_can_be_read(disk: Disk) -> None:
    with closing(EdgeStore(disk.path / "edge", options={})) as store:
        store.create(COLLECTION, dimension=DIMENSION)
        store.upsert(COLLECTION, write(bare()), revisions=())
    disk.fill(leaving_mib=OPEN_MIB + HOLES_MIB)
    with closing(EdgeStore(disk.path / "edge", options={})) as store:
        (nearest,) = store.query(COLLECTION, [Query(write(bare()).vectors[0])], k=3)
        assert len(nearest) == 3
    disk.path.joinpath("filling").unlink()
    disk.fill(leaving_mib=OPEN_MIB)
    with (
        closing(EdgeStore(disk.path / "edge", options={})) as store,
        pytest.raises(StoreUnavailable, match="disk is full"),
    ):
        store.count(COLLECTION)
