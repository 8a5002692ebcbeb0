"""The registries on a local server, and how they are opened."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.registries import MAILTO, Fake, Registries, Spending
from worker.metadata.answers import Registry
from worker.metadata.registries import crossref, datacite, openalex
from worker.metadata.registries.agency import PREFIX, RECORD, Agencies
from worker.metadata.registries.catalogue import ALONE, LIST, Catalogue
from worker.metadata.registries.client import Client
from worker.metadata.registries.identity import Identity, known, stranger
from worker.metadata.registries.opening import open_registries
from worker.metadata.registries.pacing import Limit, Pace

Open = Callable[..., Registry]
MANNERS = {one.MANNER.name: one.MANNER for one in (crossref, openalex, datacite)}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))  # empty: to read all takes 0.1 s each time
    made = Registries()
    made.polite("fast", lists=(150, 3), alone=(150, 3))
    yield made
    made.close()


@pytest.fixture
def opened(server: Registries) -> Iterator[Open]:
    """Opens one registry as `open_registries` does, with a `budget`, `agencies`, and settings."""
    closing: list[Registry] = []

    def open_one(name: str, **more: Any) -> Registry:
        budget, agencies = more.pop("budget", Spending()), more.pop("agencies", {})
        settings = server.settings(name, **more)
        (one,) = open_registries(settings, budget=budget, agencies=agencies, first_pause_s=0.01)
        closing.append(one)
        return one

    yield open_one
    for one in closing:
        one.close()


@pytest.fixture
def quick(server: Registries) -> Iterator[Open]:
    """Opens one registry that is asked as fast as it goes; `kept` are agencies."""
    closing: list[Registry] = []

    def client(fake: Fake, *, timeout_s: float, identity: Identity) -> Client:
        limits = dict.fromkeys((LIST, ALONE, PREFIX, RECORD), Limit(150, 1.0, at_once=3))
        pace = Pace(threads=3, limits=limits)
        return Client(
            fake.url, pace=pace, identity=identity, timeout_s=timeout_s, first_pause_s=0.001
        )

    def open_one(name: str, **more: Any) -> Registry:
        timeout_s, kept = more.get("timeout_s", 5.0), more.get("kept", {})
        fake = server.doi if name == "agency" else getattr(server, name)
        asking = client(fake, timeout_s=timeout_s, identity=known(MAILTO))
        if name == "agency":
            others = client(fake, timeout_s=timeout_s, identity=stranger())
            one: Registry = Agencies(asking, others, agencies=kept)
        else:
            one = Catalogue(MANNERS[name], asking, url=fake.url)
        closing.append(one)
        return one

    yield open_one
    for one in closing:
        one.close()
