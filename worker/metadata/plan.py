"""What looking DOIs up would take: how many requests, how long, and what it costs."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from worker.metadata.index import Index
from worker.metadata.resolver import PAGE_DOIS
from worker.metadata.supplements import lacking
from worker.settings.metadata import MetadataSettings


class Rate(NamedTuple):
    """How a registry is asked: DOIs a request, requests a second at first and at the most, USD."""

    most: int
    careful: float
    allowed: float
    usd: float = 0.0


# As they are documented at the end of 2026; what answers say rules (see docs/metadata.md). Of an
# agency's DOI two requests a second may be made, and it takes two.
RATES = {
    "crossref": Rate(50, 1.0, 3.0),
    "openalex": Rate(100, 5.0, 5.0, 0.0001),
    "datacite": Rate(100, 1000 / 300, 1000 / 300),
    "agency": Rate(1, 1.0, 1.0),
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
