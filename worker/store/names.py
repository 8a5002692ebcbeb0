"""What the collections behind an alias and its guards are called."""

from collections.abc import Iterable

from schemas.model import guard_alias, version_prefix
from worker.errors import ConfigurationError


def versions(alias: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are collections of a version behind `alias`, sorted."""
    return sorted(name for name in names if version_prefix(alias, name))


def version_in(alias: str, collection: str) -> str:
    """The first characters of the version whose vectors a collection behind `alias` has.

    Raises `ConfigurationError` where doivec didn't make it.
    """
    if prefix := version_prefix(alias, collection):
        return prefix
    raise ConfigurationError(
        f"the alias {alias!r} points at {collection!r}, which is not a collection that doivec made"
    )


def guard_of(alias: str, collection: str) -> str:
    """The guard of `alias` while it points at `collection`; raises as `version_in` does."""
    return guard_alias(alias, version_in(alias, collection))


def guards(alias: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are guards of `alias`, sorted."""
    return sorted(name for name in names if name.startswith(guard_alias(alias, "")))
