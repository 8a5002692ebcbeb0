"""DataCite's REST API: https://support.datacite.org/docs/api."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue, Manner, Rows, held
from worker.metadata.registries.client import FIRST_PAUSE_S, Client
from worker.metadata.registries.identity import known
from worker.metadata.registries.pacing import Limit, Pace
from worker.metadata.shapes import datacite
from worker.settings.metadata import MetadataSettings

MOST = 100
THREADS = 2
# 1,000 in 5 minutes for those who say who they are; spread, so that nobody waits for minutes.
CAREFUL = Limit(10, 3.0, at_once=THREADS)
# Without authors, subjects, files and what it is related to, which can be thousands.
FIELDS = ("doi", "titles", "descriptions", "publicationYear", "container", "updated")


def open_datacite(
    settings: MetadataSettings, *, mailto: str, first_pause_s: float = FIRST_PAUSE_S
) -> Catalogue:
    """DataCite."""
    client = Client(
        settings.datacite_url,
        pace=Pace(threads=THREADS, limits={LIST: CAREFUL, ALONE: CAREFUL}),
        identity=known(mailto),
        timeout_s=settings.timeout_s,
        first_pause_s=first_pause_s,
    )
    return Catalogue(
        MANNER, client, url=settings.datacite_url, abstracts=settings.want == "abstract"
    )


def _list_path(dois: Sequence[str], fields: Sequence[str]) -> str:
    asked = ",".join(quote(doi, safe="/:") for doi in dois)
    options = f"page%5Bsize%5D={len(dois)}&disable-facets=true&fields%5Bdois%5D={','.join(fields)}"
    return f"/dois?{options}&ids={asked}"


def _path(doi: str) -> str:
    return f"/dois/{quote(doi, safe='')}"


def _rows(body: Any) -> Rows:
    return Rows(held(body, "data", kind=list), held(body, "meta", "total", kind=int))


def _row(body: Any) -> Any:
    return held(body, "data", kind=dict)


MANNER = Manner(
    *("datacite", MOST, THREADS, _list_path, _path, _rows, _row, datacite),
    fields=FIELDS,
    abstract="descriptions",
)
