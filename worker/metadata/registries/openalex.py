"""OpenAlex's API: https://developers.openalex.org; its lists are paid for from a day's budget."""

import time
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

from worker.errors import RegistryBlocked
from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue, Manner, Rows, held
from worker.metadata.registries.client import FIRST_PAUSE_S, Client
from worker.metadata.registries.identity import known
from worker.metadata.registries.pacing import Limit, Pace
from worker.metadata.shapes import OPENALEX_FIELDS, openalex
from worker.settings.metadata import MetadataSettings

MOST = 100
THREADS = 2
LIST_USD = 0.0001
DAY_S = 86400
CAREFUL = Limit(5, 1.0, at_once=THREADS)  # of the 30 or 100 a second that it allows


class Budget(Protocol):
    """What has been spent in a day, in UTC; several threads ask it, and it outlives them."""

    def take(self, usd: float, now: float) -> bool:
        """Spend so much at `now`, in Unix seconds; False, and nothing, where it is not there."""


def open_openalex(
    settings: MetadataSettings, *, mailto: str, budget: Budget, first_pause_s: float = FIRST_PAUSE_S
) -> Catalogue:
    """OpenAlex, asked for lists as long as the budget lasts.

    Where the settings allow no cent for lists, each DOI is looked up alone, which costs nothing.
    """

    def pay(kind: str) -> None:
        now = time.time()
        if kind == LIST and not budget.take(LIST_USD, now):
            midnight = (now // DAY_S + 1) * DAY_S
            raise RegistryBlocked("OpenAlex: the day's budget is spent", midnight)

    client = Client(
        settings.openalex_url,
        pace=Pace(threads=THREADS, limits={LIST: CAREFUL, ALONE: CAREFUL}),
        identity=known(mailto, header="authorization", key=settings.openalex_key),
        timeout_s=settings.timeout_s,
        first_pause_s=first_pause_s,
        before=pay,
    )
    lists = settings.openalex_usd_a_day >= LIST_USD
    return Catalogue(
        MANNER,
        client,
        url=settings.openalex_url,
        lists=lists,
        abstracts=settings.want == "abstract",
    )


def _list_path(dois: Sequence[str], fields: Sequence[str]) -> str:
    asked = "%7C".join(quote(doi, safe="/:") for doi in dois)
    return f"/works?corpus=all&per-page={MOST}&select={','.join(fields)}&filter=doi:{asked}"


def _path(doi: str) -> str:
    return f"/works/doi:{quote(doi, safe='')}"


def _rows(body: Any) -> Rows:
    return Rows(held(body, "results", kind=list), held(body, "meta", "count", kind=int))


def _row(body: Any) -> Any:
    return held(body, kind=dict)


MANNER = Manner(
    *("openalex", MOST, THREADS, _list_path, _path, _rows, _row, openalex),
    fields=OPENALEX_FIELDS,
    abstract="abstract_inverted_index",
    html_is_404=True,
)
