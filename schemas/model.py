"""What a model version is, and the names that carry it."""

from pydantic import BaseModel, ConfigDict

VERSION_CHARACTERS = 16


class ModelVersion(BaseModel):
    """The manifest of a model version: all that decides a vector, and its canaries.

    `version` is the SHA-256 (64 hexadecimal characters) of the rest except the canaries.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    name: str
    dimension: int
    max_tokens: int
    templates: tuple[str, ...]
    files: dict[str, str]


def collection_name(alias: str, version: str) -> str:
    """The collection that holds the vectors of `version` behind `alias`."""
    return f"{alias}-{version[:VERSION_CHARACTERS]}"


def guard_alias(alias: str, version: str) -> str:
    """The second alias of the live collection, by which a switch is compare-and-set."""
    return f"{alias}@{version[:VERSION_CHARACTERS]}"
