"""What looking DOIs up would take: how many requests, how long, and what it costs."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from worker.metadata.index import Index
from worker.metadata.registries import agency, crossref, datacite, openalex
from worker.metadata.registries.pacing import Limit
from worker.metadata.resolver import PAGE_DOIS
from worker.metadata.supplements import lacking
from worker.settings.metadata import MetadataSettings


class Rate(NamedTuple):
    """How a registry is asked: DOIs a request, requests a second at first and at the most, USD."""

    most: int
    careful: float
    allowed: float
    usd: float = 0.0


def _per_s(limit: Limit) -> float:
    return limit.requests / limit.interval_s


# What answers say rules (see docs/metadata.md). A DOI of an agency takes two requests.
RATES = {
    "crossref": Rate(crossref.MOST, 1.0, float(crossref.POLITE)),
    "openalex": Rate(
        *(openalex.MOST, _per_s(openalex.CAREFUL), _per_s(openalex.CAREFUL), openalex.LIST_USD)
    ),
    "datacite": Rate(datacite.MOST, _per_s(datacite.CAREFUL), _per_s(datacite.CAREFUL)),
    "agency": Rate(1, *[_per_s(agency.LIMITS[agency.RECORD]) / 2] * 2),
}
DAY_S = 86400.0


class Estimate(NamedTuple):
    """What one registry is asked for at the most, in seconds at the allowed and careful rates."""

    registry: str
    dois: int
    requests: int
    least_s: float
    most_s: float
    usd: float


class Plan(NamedTuple):
    """Of how many DOIs the index has what is wanted, and what each registry would be asked.

    A registry's figures are those if none before it found anything.
    """

    dois: int
    known: int
    estimates: tuple[Estimate, ...]


def plan(index: Index, dois: Iterable[str], *, settings: MetadataSettings, now: float) -> Plan:
    """What looking canonical DOIs up would take; nothing is asked."""
    every, count, known = iter(dois), 0, 0
    asked = dict.fromkeys(settings.sources, 0)
    while page := list(islice(every, PAGE_DOIS)):
        left = lacking(page, index.find(page), settings.want)
        count += len(page)
        known += len(page) - len(left)
        for name in asked:
            asked[name] += len(index.to_ask(left, name, now=now))
    estimates = (_estimate(name, asked[name], settings) for name in RATES if name in asked)
    return Plan(count, known, tuple(estimates))


def _estimate(name: str, dois: int, settings: MetadataSettings) -> Estimate:
    rate = RATES[name]
    if settings.openalex_usd_a_day < rate.usd:  # then each DOI is looked up alone, for nothing
        rate = rate._replace(most=1, usd=0.0)
    requests = -(-dois // rate.most)
    usd = requests * rate.usd
    # Where the budget of a day is spent, the next one is waited for.
    within_s = usd // settings.openalex_usd_a_day * DAY_S if usd else 0.0
    return Estimate(
        *(name, dois, requests),
        least_s=max(within_s, requests / rate.allowed),
        most_s=max(within_s, requests / rate.careful),
        usd=round(usd, 4),
    )
