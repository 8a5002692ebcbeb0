"""What a similarity query asks, and what it answers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict

_REGISTRANT = re.compile(r"10\.[0-9]{4,9}(?:\.[0-9]+)*")
_LIKE_A_DOI = re.compile(r"\s*(?:doi\s*:?\s*)?\S*10\.[0-9]{4,9}[0-9.]*/", re.IGNORECASE)
_YEARS = re.compile(r"\s*([0-9]{1,4})?\s*(?:([-–])\s*([0-9]{1,4})?\s*)?")


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


def check_registrant(text: str) -> str:
    """The text, if it is a DOI's prefix such as 10.1038; raises ValueError."""
    if not _REGISTRANT.fullmatch(text):
        raise ValueError(f"{text!r} is no registrant: what stands before a DOI's slash, as 10.1038")
    return text


class Question(NamedTuple):
    """A DOI, as somebody wrote it, or a text; one of the two."""

    doi: str | None = None
    text: str | None = None

    @classmethod
    def read(cls, line: str) -> Self:
        """What a line asks: it is a DOI where its first word looks like one, else a text."""
        return cls(doi=line) if _LIKE_A_DOI.match(line) else cls(text=line)


class Filter(NamedTuple):
    """Which records may be among the hits, by their payload; None stands for any.

    `of_text` is true for those whose vectors were made of text, false for those whose vectors
    were made of their DOI's string alone (the payload's `text_from` is `doi`).
    """

    registrant: str | None = None
    venue: str | None = None
    years: Years | None = None
    of_text: bool | None = None

    @classmethod
    def read(
        cls,
        *,
        registrant: str | None = None,
        venue: str | None = None,
        year: int | str | None = None,
    ) -> Self:
        """The filter that these words mean, a year as in `Years.read`; raises ValueError."""
        return cls(
            registrant=None if registrant is None else check_registrant(registrant),
            venue=venue,
            years=None if year is None else Years.read(str(year)),
        )


class Answer(NamedTuple):
    """What was found for one question; `subject` is its canonical DOI, or its text.

    `known` is what the collection has beside the vector of the DOI asked for; None where it isn't
    there, and for a text. `of_text` says of which kind the question's own vector is, as in
    `Filter`. `refusal` is why there is no answer.
    """

    subject: str
    is_doi: bool
    known: Mapping[str, Any] | None = None
    of_text: bool | None = None
    hits: Sequence[Hit] = ()
    refusal: str = ""
