"""What a similarity query asks, and what it answers."""

import re
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

_YEARS = re.compile(r"\s*([0-9]{1,4})?\s*(-)?\s*([0-9]{1,4})?\s*")


class Hit(BaseModel):
    """A similar DOI: its cosine similarity to the query, and what the payload says of it."""

    model_config = ConfigDict(frozen=True)

    doi: str
    score: float
    metadata: dict[str, Any]


class Years(NamedTuple):
    """A span of years, both ends included; None is an open end."""

    first: int | None
    last: int | None

    @classmethod
    def read(cls, text: str) -> Self:
        """The span that `2015`, `2015-2020`, `2015-` or `-2020` means; raises ValueError."""
        found = _YEARS.fullmatch(text)
        if not found or not (found[1] or found[3]):
            raise ValueError(f"{text!r} is no span of years, such as 2015, 2015-2020, 2015-, -2020")
        first = int(found[1]) if found[1] else None
        last = int(found[3]) if found[3] else None
        if not found[2]:
            last = first
        if first is not None and last is not None and first > last:
            raise ValueError(f"the years {text!r} end before they begin")
        return cls(first, last)


class Filter(NamedTuple):
    """Which records may be among the hits, by their payload; None stands for any.

    `of_text` is true for those whose vectors were made of text, false for those whose vectors
    were made of their DOI's string alone (the payload's `text_from` is `doi`).
    """

    registrant: str | None = None
    venue: str | None = None
    years: Years | None = None
    of_text: bool | None = None
