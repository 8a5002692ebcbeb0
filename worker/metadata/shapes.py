"""One record of a registry, in a snapshot or in an answer of its API, as what it says of its DOI.

Crossref: https://api.crossref.org/swagger-ui (Work); OpenAlex: docs.openalex.org (Work object);
DataCite: support.datacite.org (JSON:API, or its `attributes` alone); CSL-JSON: csl-data.json.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from schemas.document import Document
from schemas.doi import normalize
from worker.metadata.answers import Answer
from worker.settings.ingest import LimitSettings
from worker.sources.fields import document
from worker.sources.objects import plain
from worker.sources.text import clean, says_nothing

Raw = Mapping[str, Any]
LIMITS = LimitSettings()
RESOLVERS = re.compile(r"\s*(?:https?://(?:dx\.)?doi\.org/)?(.*?)\s*", re.IGNORECASE | re.DOTALL)
YEARS = ("issued", "published", "published-print", "published-online")
# What Crossref and CSL-JSON need be asked for: all that is read here.
CROSSREF_FIELDS = (
    *("DOI", "title", "subtitle", "original-title", "abstract", "container-title"),
    *(*YEARS, "indexed"),
)
OPENALEX_FIELDS = (
    *("id", "doi", "title", "publication_year", "primary_location", "abstract_inverted_index"),
    "updated_date",
)
# What DataCite has instead of a value (its schema's appendix on codes for unknown information).
UNKNOWN = re.compile(r"\s*\(?:(?:un[a-z]{2}|none|null|tba|etal)\)?[.\s]*")
ENDS = (":", ".", "?", "!", "-", "\N{EN DASH}", "\N{EM DASH}")
LAST_SECOND = 2**40


def crossref(record: Raw) -> Answer | None:
    """What a work of Crossref says; None where it has no DOI."""
    return _csl(record, source="crossref")


def agency(record: Raw) -> Answer | None:
    """What CSL-JSON says that another agency gave for a DOI; None where it has none."""
    return _csl(record, source="agency")


def openalex(record: Raw) -> Answer | None:
    """What a work of OpenAlex says; None where it has no DOI."""
    location = record.get("primary_location") or record.get("host_venue")
    located = location.get("source", location) if isinstance(location, Mapping) else None
    return _answer(
        "openalex",
        {
            "doi": record.get("doi"),
            "title": record.get("title") or record.get("display_name"),
            "abstract": record.get("abstract_inverted_index"),
            "year": record.get("publication_year"),
            "venue": located,
        },
        dated=record.get("updated_date"),
    )


def datacite(record: Raw) -> Answer | None:
    """What a DOI of DataCite says; None where it has no DOI."""
    inner = record.get("attributes")
    attributes: Raw = inner if isinstance(inner, Mapping) else record
    fields = {
        "doi": attributes.get("doi") or record.get("id"),
        "title": _known(attributes.get("titles"), "title"),
        "abstract": _known(attributes.get("descriptions"), "description"),
        "year": attributes.get("publicationYear"),
        "venue": attributes.get("container"),
    }
    return _answer("datacite", fields, dated=attributes.get("updated"))


def _csl(record: Raw, *, source: str) -> Answer | None:
    title = _first(record.get("title"))
    fields = {
        "doi": record.get("DOI"),
        "title": _whole(title, _first(record.get("subtitle")))
        or _first(record.get("original-title")),
        "abstract": record.get("abstract"),
        "year": next((y for name in YEARS if (y := plain("year", record.get(name)))), None),
        "venue": _first(record.get("container-title")),
    }
    changed = record.get("indexed") or record.get("deposited")
    times = changed if isinstance(changed, Mapping) else {}
    return _answer(source, fields, dated=times.get("timestamp") or times.get("date-time"))


def _answer(source: str, fields: dict[str, Any], *, dated: Any) -> Answer | None:
    doi = _own_doi(fields["doi"])
    if doi is None:
        return None
    given = {name: plain(name, value) for name, value in fields.items()} | {"doi": doi}
    try:
        found = document(given, limits=LIMITS).document
    except ValueError:  # longer than a record may be: there, and nothing that could be kept
        found = Document(doi=doi)
    return Answer(found.model_copy(update={"source": source}), _seconds(dated))


def _own_doi(value: Any) -> str | None:
    """The canonical form of a registry's DOI; None where that would be another one."""
    if not isinstance(value, str) or not (bare := RESOLVERS.fullmatch(value)):
        return None
    with suppress(ValueError):
        canonical = normalize(bare[1], max_bytes=LIMITS.doi_bytes)
        return canonical if canonical == bare[1].lower() else None
    return None


def _first(value: Any) -> str:
    """The first text that says something, clean, of one or of a list."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = (clean(text) for text in values if isinstance(text, str))
    return next((text for text in texts if not says_nothing(text)), "")


def _whole(title: str, subtitle: str) -> str:
    """A title and its subtitle, unless the one says the other already."""
    if not title or not subtitle or subtitle.casefold() in title.casefold():
        return title
    return f"{title}{' ' if title.endswith(ENDS) else ': '}{subtitle}"


def _known(values: Any, name: str) -> list[Raw]:
    """The objects of a list whose text is not one of DataCite's words for nothing."""
    objects: Iterable[Any] = values if isinstance(values, list | tuple) else ()
    held = (one for one in objects if isinstance(one, Mapping))
    return [
        one
        for one in held
        if not (isinstance(text := one.get(name), str) and UNKNOWN.fullmatch(text))
    ]


def _seconds(value: Any) -> int:
    """Unix seconds of milliseconds, or of a date and a time in UTC; 0 for anything else."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str):
            found = datetime.fromisoformat(value.strip())
            value = 1000 * (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = int(value / 1000)
            return seconds if 0 <= seconds < LAST_SECOND else 0
    return 0
