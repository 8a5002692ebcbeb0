"""Old collections and versions: what may go, what it frees, and its removal."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.history import Entry
from schemas.model import VERSION_CHARACTERS, version_prefix
from trainer.alone import REFINING, alone
from trainer.errors import PruneRefused
from trainer.promotion.difference import uncovered
from trainer.promotion.promote import Promoter
from trainer.records import read_records

BYTES_A_NUMBER = 4


class Removable(NamedTuple):
    """What nobody needs of a version: its collection, its directory, or both.

    `version` is whole, or the part in the collection's name where the registry hasn't it. `points`
    and `vector_bytes` are what the collection holds: how many vectors, and their size;
    `last_copies` of its records are in no collection that stays, or goes after it.
    """

    version: str
    name: str
    collection: str | None
    points: int
    vector_bytes: int
    last_copies: int
    path: Path | None
    path_bytes: int


def removable(promoter: Promoter, *, keep: int) -> list[Removable]:
    """What is there beyond the `keep` newest versions, oldest first.

    Never the live one, the candidate, the one to roll back to, nor one whose promotion was begun.
    Of those from which a kept one was trained, and of those that another alias of the store has a
    collection of, the collection alone. Raises `ModelError`.
    """
    registry, there = promoter.stores.registry, _collections(promoter)
    newest = sorted(registry.versions(), key=registry.made_at, reverse=True)
    needed = _needed(promoter)
    kept = {*newest[:keep], *(v for v in newest if _prefix(v) in needed)}
    records = _ancestors(promoter, kept) | set(_elsewhere(promoter, newest))
    known = {_prefix(version) for version in newest}
    old = [
        *(prefix for prefix in there if prefix not in known | needed),
        *(v for v in reversed(newest) if v not in kept),
    ]
    gone = [v for v in old if _prefix(v) in there or v not in records]
    stay = [name for prefix, name in there.items() if prefix not in set(map(_prefix, gone))]
    found = list[Removable]()
    for version in reversed(gone):
        one = _describe(promoter, version, there=there, holders=stay, keeps=version in records)
        stay += [one.collection] if one.collection else []
        found.append(one)
    return found[::-1]


def prune(
    promoter: Promoter,
    *,
    keep: int,
    losing: int = 0,
    show: Callable[[Sequence[Removable]], None] = lambda _: None,
) -> None:
    """Remove what is removable, after it was shown.

    What holds the last copy of a record stays, unless `losing` is the number of all such records.
    Raises `PruneRefused` where it is another number, `Busy` where a refine or a promotion is under
    way, and `ModelError`.
    """
    started_at, gone = datetime.now(UTC), list[Removable]()
    with alone(promoter.stores.settings, REFINING), promoter.alone() as lease:
        found = removable(promoter, keep=keep)
        show(found)
        last = sum(one.last_copies for one in found)
        if losing not in {0, last}:
            raise PruneRefused(f"{last:,} records would go, not {losing:,}; nothing is removed")
        for one in found:
            lease.check()
            if losing or not one.last_copies:
                _remove(promoter, one)
                gone.append(one)
        promoter.stores.registry.clear()
    if gone:
        _remember(promoter, gone, started_at=started_at, lost=losing)


def _remove(promoter: Promoter, one: Removable) -> None:
    if one.collection:
        promoter.store.drop(one.collection)
    if one.path and one.version not in _elsewhere(promoter, [one.version]):
        promoter.stores.registry.remove(one.version)


def _remember(
    promoter: Promoter, gone: Sequence[Removable], *, started_at: datetime, lost: int
) -> None:
    promoter.history.append(
        Entry(
            kind="prune",
            started_at=started_at,
            ended_at=datetime.now(UTC),
            outcome="pruned",
            words=f"removed {', '.join(one.version[:12] for one in gone)}",
            details={"versions": [one.version for one in gone], "lost": lost},
        )
    )


def _collections(promoter: Promoter) -> dict[str, str]:
    """The collections of the alias, by the part of the version in their names."""
    alias = promoter.deployment.alias
    return {version_prefix(alias, n) or "": n for n in promoter.store.collections(alias)}


def _prefix(version: str) -> str:
    return version[:VERSION_CHARACTERS]


def _needed(promoter: Promoter) -> set[str]:
    """The versions that are live, to be rolled back to, or on their way, as in collections' names.

    Raises `ModelError`.
    """
    alias, begun = promoter.deployment.alias, promoter.begun()
    versions = (promoter.live(), promoter.previous())
    names = (promoter.ledger.route().candidate, *((begun.source, begun.target) if begun else ()))
    found = {version_prefix(alias, name) for name in names if name}
    return {_prefix(version) for version in versions if version} | {p for p in found if p}


def _elsewhere(promoter: Promoter, versions: Sequence[str]) -> Iterator[str]:
    """Those of the versions that have collections under other aliases of the store."""
    ours = set(_collections(promoter).values())
    others = [name for name in promoter.store.names() if name not in ours]
    ends = {name[-VERSION_CHARACTERS:] for name in others}
    yield from (version for version in versions if _prefix(version) in ends)


def _ancestors(promoter: Promoter, versions: set[str]) -> set[str]:
    """Those that these versions were trained from: comparisons look into their records."""
    registry = promoter.stores.registry
    known, found, queue = set(registry.versions()), set[str](), list(versions)
    while queue:
        records = read_records(registry.look(queue.pop())[0])
        parents = {record.parent for record in records} & known - found
        found |= parents
        queue += parents
    return found


def _describe(
    promoter: Promoter,
    version: str,
    *,
    there: dict[str, str],
    holders: Sequence[str],
    keeps: bool,
) -> Removable:
    registry, collection = promoter.stores.registry, there.get(_prefix(version))
    path, manifest = registry.look(version) if version in registry.versions() else (None, None)
    points = promoter.store.count(collection) if collection else 0
    files = path.rglob("*") if path and not keeps else ()
    return Removable(
        version=version,
        name=manifest.name if manifest else "(not in the registry)",
        collection=collection,
        points=points,
        vector_bytes=points * (manifest.dimension if manifest else 0) * BYTES_A_NUMBER,
        last_copies=_last_copies(promoter, collection, holders) if collection else 0,
        path=None if keeps else path,
        path_bytes=sum(file.stat().st_size for file in files if file.is_file()),
    )


def _last_copies(promoter: Promoter, collection: str, holders: Sequence[str]) -> int:
    live = promoter.store.live(promoter.deployment.alias)
    first = sorted(holders, key=lambda name: name != live)  # it has nearly all
    buried = promoter.ledger.buried
    return sum(
        len(part.left) for part in uncovered(promoter.store, collection, first, buried=buried)
    )
