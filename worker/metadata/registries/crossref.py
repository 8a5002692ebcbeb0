"""Crossref's REST API: https://api.crossref.org/swagger-ui."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue, Manner, Rows, held
from worker.metadata.registries.client import FIRST_PAUSE_S, Client
from worker.metadata.registries.identity import known
from worker.metadata.registries.pacing import Limit, Pace
from worker.metadata.shapes import CROSSREF_FIELDS, crossref
from worker.settings.metadata import MetadataSettings

MOST = 50
POLITE, SUBSCRIBED = 3, 8  # requests at once, if the answers allow it
TOKEN_HEADER = "crossref-plus-api-token"  # noqa: S105 - its name


def open_crossref(
    settings: MetadataSettings, *, mailto: str, first_pause_s: float = FIRST_PAUSE_S
) -> Catalogue:
    """Crossref, asked once a second and once at a time until its answers allow more."""
    token = settings.crossref_token
    threads = SUBSCRIBED if token else POLITE
    careful = Limit(1, 1.0, at_once=threads if token else 1)  # subscribers are told no such limit
    client = Client(
        settings.crossref_url,
        pace=Pace(threads=threads, limits={LIST: careful, ALONE: careful}),
        identity=known(mailto, header=TOKEN_HEADER, key=token),
        timeout_s=settings.timeout_s,
        first_pause_s=first_pause_s,
    )
    return Catalogue(
        MANNER._replace(threads=threads),
        client,
        url=settings.crossref_url,
        abstracts=settings.want == "abstract",
    )


def _list_path(dois: Sequence[str], fields: Sequence[str]) -> str:
    asked = ",".join(f"doi:{quote(doi, safe='/:')}" for doi in dois)
    return f"/works?rows={len(dois)}&select={','.join(fields)}&filter={asked}"


def _path(doi: str) -> str:
    return f"/works/{quote(doi, safe='')}"


def _rows(body: Any) -> Rows:
    return Rows(
        held(body, "message", "items", kind=list), held(body, "message", "total-results", kind=int)
    )


def _row(body: Any) -> Any:
    return held(body, "message", kind=dict)


MANNER = Manner(
    *("crossref", MOST, POLITE, _list_path, _path, _rows, _row, crossref),
    fields=CROSSREF_FIELDS,
    abstract="abstract",
)
