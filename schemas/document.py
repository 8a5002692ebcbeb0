"""A record as doivec ingests it: a DOI and, where given, its metadata."""

import json
from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 2
METADATA_FIELDS = ("title", "abstract", "year", "venue")
GIVEN = "given"


class Document(BaseModel):
    """One record: a canonical DOI (see `schemas.doi.normalize`) and the metadata known of it.

    `source` says who supplied it: `given` by a person, or the name of where it was looked up. It
    is no part of the content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    doi: str
    title: str | None = None
    abstract: str | None = None
    year: int | None = None
    venue: str | None = None
    source: str = GIVEN

    def model_copy(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,  # noqa: ARG002 - pydantic's
    ) -> "Document":
        """A record with some fields changed; pydantic's own would keep the hash of the old one."""
        return Document(**{**self.model_dump(), **(update or {})})

    def from_source(self, source: str) -> "Document":
        """The same record, supplied by `source`."""
        return self if source == self.source else self.model_copy(update={"source": source})

    @property
    def is_bare(self) -> bool:
        """Whether nothing but the DOI is given."""
        return not self.metadata

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The metadata fields that have a value, by name."""
        values = ((name, getattr(self, name)) for name in METADATA_FIELDS)
        return {name: value for name, value in values if value is not None}

    @cached_property
    def content_hash(self) -> str:
        """The BLAKE2b-128 of the whole record, 32 hexadecimal characters.

        It covers every field, not only those that a model's templates render, so that a
        changed venue reaches the payload too.
        """
        content = {"doi": self.doi, **self.metadata}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return blake2b(canonical.encode(), digest_size=16).hexdigest()
