"""Nested records: Crossref's, OpenAlex's, DataCite's and CSL's objects, as plain values.

Crossref: https://api.crossref.org/swagger-ui (Work); OpenAlex: docs.openalex.org (Work object);
DataCite: support.datacite.org (JSON:API); CSL-JSON: citation-style-language/schema, csl-data.json.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

ENVELOPES = ("message", "data", "attributes")
# What an object is called whose name is wanted: DataCite's container, OpenAlex's source, a journal.
NAMED = ("title", "display_name", "source", "name")
LEVELS = 20  # of nesting, which is more than any record has


def unwrapped(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record that a registry's answer wraps: Crossref's `message`, DataCite's `attributes`."""
    for name in ENVELOPES:
        inner = row.get(name)
        if isinstance(inner, Mapping) and "doi" not in row and "DOI" not in row:
            row = inner
    return row


def plain(field: str, value: Any, *, levels: int = LEVELS) -> Any:
    """A field's value without its nesting: a text, a number, several texts, or None for nothing.

    What it does not know is given back as it is, and what is nested more deeply.
    """
    if isinstance(value, str) or value is None:
        return value or None
    if isinstance(value, Mapping) and levels:
        return _of_object(field, value, levels=levels - 1)
    if isinstance(value, list | tuple) and levels:
        return _of_list(field, value, levels=levels - 1)
    return value


def _of_object(field: str, value: Mapping[str, Any], *, levels: int) -> Any:
    if not value:
        return None
    if field == "year":
        return _year(value)
    if field == "abstract" and _is_inverted(value):
        return _sentence(value)
    if field == "venue":
        found = (plain(field, value[name], levels=levels) for name in NAMED if name in value)
        return next((name for name in found if name is not None), None)
    return value


def _of_list(field: str, values: Iterable[Any], *, levels: int) -> Any:
    objects = [value for value in values if isinstance(value, Mapping)]
    if not objects:
        found = [v for v in values if v is not None and v != ""]
    elif field == "title":
        # A title with a type is another's: a subtitle, a translation.
        main = [o for o in objects if not o.get("titleType")] or objects
        found = [o["title"] for o in main if o.get("title")]
    elif field == "abstract":
        kinds = ((o.get("descriptionType"), o.get("description")) for o in objects)
        found = [text for kind, text in kinds if kind == "Abstract" and text]
    else:
        every = (plain(field, one, levels=levels) for one in objects)
        found = [value for value in every if value is not None]
    if len(found) > 1:
        return found
    return plain(field, found[0], levels=levels) if found else None


def _year(value: Mapping[str, Any]) -> Any:
    if "date-parts" not in value:  # CSL-JSON's other forms
        return value.get("raw") or value.get("literal") or value
    parts = value["date-parts"]
    while isinstance(parts, list | tuple):  # [[2020, 5, 1]], [2020], [[None]], []
        parts = parts[0] if parts else None
    return parts


def _is_inverted(value: Mapping[str, Any]) -> bool:
    return all(
        isinstance(places, list) and all(type(n) is int for n in places)
        for places in value.values()
    )


def _sentence(words: Mapping[str, list[int]]) -> str:
    """The text of OpenAlex's inverted index: of each word the places where it stands."""
    placed = chain.from_iterable(((n, word) for n in places) for word, places in words.items())
    return " ".join(word for _, word in sorted(placed))
