"""What looking DOIs up would take: how many requests, how long, and what it costs."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from worker.metadata.index import Index
from worker.metadata.resolver import PAGE_DOIS
from worker.metadata.supplements import kept, lacks
from worker.settings import MetadataSettings


class Rate(NamedTuple):
    """How a registry is asked: DOIs a request, requests a second at first and at the most, USD."""

    most: int
    careful: float
    allowed: float
    usd: float = 0.0


# As they are documented at the end of 2026; what answers say rules (see docs/metadata.md).
RATES = {
    "crossref": Rate(50, 1.0, 3.0),
    "openalex": Rate(100, 5.0, 5.0, 0.0001),
    "datacite": Rate(100, 1000 / 300, 1000 / 300),
    "agency": Rate(1, 1.0, 1.0),
}


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
    left, count, known = iter(dois), 0, 0
    asked = dict.fromkeys(settings.sources, 0)
    while page := list(islice(left, PAGE_DOIS)):
        lacking = _lacking(index, page, settings=settings)
        count += len(page)
        known += len(page) - len(lacking)
        for name in asked:
            asked[name] += len(index.to_ask(lacking, name, now=now))
    estimates = (_estimate(name, asked[name]) for name in RATES if name in asked)
    return Plan(count, known, tuple(estimates))


def _lacking(index: Index, dois: Sequence[str], *, settings: MetadataSettings) -> list[str]:
    found = index.find(dois)
    return [
        doi
        for doi in dois
        if lacks(
            {n for d in kept(found.get(doi, ()), settings.want) for n in d.metadata}, settings.want
        )
    ]


def _estimate(name: str, dois: int) -> Estimate:
    rate = RATES[name]
    requests = -(-dois // rate.most)
    return Estimate(
        *(name, dois, requests, requests / rate.allowed, requests / rate.careful),
        usd=round(requests * rate.usd, 4),
    )
