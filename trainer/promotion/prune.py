"""Old collections and versions: what may go, what it frees, and its removal."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.history import Entry
from schemas.model import collection_name
from trainer.alone import REFINING, alone
from trainer.promotion.promote import Promoter
from trainer.records import read_record

BYTES_A_NUMBER = 4


class Removable(NamedTuple):
    """A version that nobody needs: its collection and its directory, where they are there.

    `points` and `vector_bytes` are what the collection holds: how many vectors, and their size.
    """

    version: str
    name: str
    collection: str | None
    points: int
    vector_bytes: int
    path: Path
    path_bytes: int


def removable(promoter: Promoter, *, keep: int) -> list[Removable]:
    """The versions beyond the `keep` newest ones, oldest first.

    Never the live one, the candidate, the one to roll back to, one whose promotion was begun,
    nor one from which a kept one was trained. Raises `ModelError`.
    """
    registry = promoter.stores.registry
    newest = sorted(registry.versions(), key=lambda v: -registry.look(v)[0].stat().st_mtime)
    kept = _with_parents(promoter, {*newest[:keep], *_needed(promoter)})
    there = promoter.store.collections(promoter.deployment.alias)
    return [_describe(promoter, v, there=there) for v in reversed(newest) if v not in kept]


def prune(promoter: Promoter, found: list[Removable]) -> None:
    """Remove them; those that have become needed meanwhile stay.

    Raises `Busy` where a refine or a promotion is under way.
    """
    started_at, gone = datetime.now(UTC), list[Removable]()
    with alone(promoter.stores.settings, REFINING), promoter.alone() as lease:
        for one in found:
            lease.check()
            if one.version in _with_parents(promoter, set(_needed(promoter))):
                continue
            if one.collection:
                promoter.store.drop(one.collection)
            promoter.stores.registry.remove(one.version)
            gone.append(one)
    if gone:
        promoter.history.append(
            Entry(
                kind="prune",
                started_at=started_at,
                ended_at=datetime.now(UTC),
                outcome="pruned",
                words=f"removed {', '.join(one.version[:12] for one in gone)}",
                details={"versions": [one.version for one in gone]},
            )
        )


def _needed(promoter: Promoter) -> Iterator[str]:
    live = promoter.live()
    yield from (version for version in (live, promoter.previous()) if version)
    candidate = promoter.ledger.route().candidate
    begun = promoter.begun()
    names = (candidate, *((begun.source, begun.target) if begun else ()))
    for collection in filter(None, names):
        prefix = collection.rpartition("-")[2]
        yield from (v for v in promoter.stores.registry.versions() if v.startswith(prefix))


def _with_parents(promoter: Promoter, versions: set[str]) -> set[str]:
    """These versions, and those that they were trained from: comparisons look into them."""
    registry = promoter.stores.registry
    found, queue = set[str](), list(versions)
    while queue:
        version = queue.pop()
        if version in found or version not in registry.versions():
            continue
        found.add(version)
        record = read_record(registry.look(version)[0])
        if record:
            queue.append(record.parent)
    return found


def _describe(promoter: Promoter, version: str, *, there: list[str]) -> Removable:
    path, manifest = promoter.stores.registry.look(version)
    collection = collection_name(promoter.deployment.alias, version)
    points = promoter.store.count(collection) if collection in there else 0
    return Removable(
        version=version,
        name=manifest.name,
        collection=collection if collection in there else None,
        points=points,
        vector_bytes=points * manifest.dimension * BYTES_A_NUMBER,
        path=path,
        path_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    )
