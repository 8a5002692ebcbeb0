"""A record as doivec ingests it: a DOI and, where given, its metadata."""

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 2
METADATA_FIELDS = ("title", "abstract", "year", "venue")
GIVEN = "given"


class Document(BaseModel):
    """One record: a canonical DOI (see `schemas.doi.normalize`) and the metadata known of it.

    `source` says who supplied it: `given` by a person, or the name of where it was looked up;
    `supplied` names the fields that came from elsewhere. Neither is part of the content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    doi: str
    title: str | None = None
    abstract: str | None = None
    year: int | None = None
    venue: str | None = None
    source: str = GIVEN
    supplied: Mapping[str, str] = {}

    def model_copy(
        self,
        *,
        update: Mapping[str, Any] | None = None,
        deep: bool = False,  # noqa: ARG002 - pydantic's
    ) -> "Document":
        """A record with some fields changed; pydantic's own would keep the hash of the old one."""
        return Document(**{**self.model_dump(), **(update or {})})

    def unsigned(self) -> "Document":
        """The same record, without who supplied it."""
        if self.source == GIVEN and not self.supplied:
            return self
        return self.model_copy(update={"source": GIVEN, "supplied": {}})

    def source_of(self, field: str) -> str:
        """Who supplied a field."""
        return self.supplied.get(field, self.source)

    def supplemented(self, others: Iterable["Document"]) -> "Document":
        """This record, and of what it lacks what others have, the first first."""
        found: dict[str, Any] = {}
        supplied = dict(self.supplied)
        for other in others:
            for name in other.metadata.keys() - self.metadata.keys() - found.keys():
                found[name] = other.metadata[name]
                if (source := other.source_of(name)) != self.source:
                    supplied[name] = source
        return self.model_copy(update={**found, "supplied": supplied}) if found else self

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
