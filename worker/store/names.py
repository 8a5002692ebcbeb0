"""What the collections behind an alias and its guards are called."""

import re
from collections.abc import Iterable

from schemas.model import VERSION_CHARACTERS, guard_alias


def versions(alias: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are collections of a version behind `alias`, sorted."""
    ours = re.compile(f"{re.escape(alias)}-[0-9a-f]{{{VERSION_CHARACTERS}}}")
    return sorted(name for name in names if ours.fullmatch(name))


def guard_of(alias: str, collection: str) -> str:
    """The guard of `alias` while it points at `collection`, whose name ends with its version."""
    return guard_alias(alias, collection.rpartition("-")[2])


def guards(alias: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are guards of `alias`, sorted."""
    return sorted(name for name in names if name.startswith(guard_alias(alias, "")))
