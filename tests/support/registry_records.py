"""Records in the shapes that Crossref, OpenAlex, DataCite and doi.org answer with."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Any
ENVELOPE = {"status": "ok", "message-version": "1.0.0"}


def crossref_work(doi: str, fields: Mapping[str, Any]) -> Json:
    """A work; without a title it has no `title` at all, as a component."""
    year = fields.get("year")
    work: dict[str, Any] = {
        "DOI": doi,
        "type": "journal-article" if fields.get("title") else "component",
        "issued": {"date-parts": [[year, 5, 16] if year else [None]]},
        "indexed": {"timestamp": 1717445000000},
    }
    if fields.get("title"):
        work["title"] = [fields["title"]]
    if fields.get("venue"):
        work["container-title"] = [fields["venue"]]
    if fields.get("abstract"):
        work["abstract"] = f"<jats:p>{fields['abstract']}</jats:p>"
    return work


def openalex_work(doi: str, fields: Mapping[str, Any]) -> Json:
    """A work, its abstract inverted."""
    inverted: dict[str, list[int]] = {}
    for place, word in enumerate((fields.get("abstract") or "").split()):
        inverted.setdefault(word, []).append(place)
    return {
        "id": f"https://openalex.org/W{sum(doi.encode())}",
        "doi": f"https://doi.org/{doi.lower()}",
        "title": fields.get("title"),
        "publication_year": fields.get("year"),
        "primary_location": {"source": {"display_name": fields.get("venue")}},
        "abstract_inverted_index": inverted or None,
    }


def datacite_doi(doi: str, fields: Mapping[str, Any]) -> Json:
    """A DOI's attributes, in an object of JSON:API."""
    title, abstract = fields.get("title"), fields.get("abstract")
    described = [{"description": abstract, "descriptionType": "Abstract"}] if abstract else []
    return {
        "id": doi.lower(),
        "type": "dois",
        "attributes": {
            "doi": doi.lower(),
            "titles": [{"title": title}] if title else [],
            "container": {"title": fields["venue"]} if fields.get("venue") else {},
            "publicationYear": fields.get("year"),
            "descriptions": described,
            "updated": "2026-03-18T16:08:23.000Z",
        },
    }


def csl_item(doi: str, fields: Mapping[str, Any]) -> Json:
    """CSL-JSON, as content negotiation gives it."""
    item = crossref_work(doi, fields)
    for name in ("title", "container-title"):
        if name in item:
            item[name] = item[name][0]
    return item


def crossref_list(works: list[Json]) -> Json:
    """An answer with several works."""
    message = {"facets": {}, "total-results": len(works), "items": works}
    return {**ENVELOPE, "message-type": "work-list", "message": message}


def crossref_one(work: Json) -> Json:
    """An answer with one work."""
    return {**ENVELOPE, "message-type": "work", "message": work}


def openalex_list(works: list[Json]) -> Json:
    """An answer with several works."""
    meta = {"count": len(works), "db_response_time_ms": 4, "page": 1, "per_page": 100}
    return {"meta": meta, "results": works}


def datacite_list(dois: list[Json]) -> Json:
    """An answer with several DOIs."""
    return {"data": dois, "meta": {"total": len(dois), "totalPages": 1, "page": 1}}


def mangled(value: Json, mangle: Any) -> Iterator[Json]:
    """The value with each of its parts in turn replaced by what `mangle` makes of it."""
    yield mangle(value)
    if isinstance(value, dict | list):
        keys = value.keys() if isinstance(value, dict) else range(len(value))
        for key in keys:
            for part in mangled(value[key], mangle):
                copy = value.copy()
                copy[key] = part
                yield copy
