"""What the resolver remembers in the index besides answers: agencies, spending, how far it is."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from worker.metadata.index import Index

STATE, ABSTRACTS = "resolver", "abstracts since"


class Agencies:
    """The agency of each prefix of DOIs that was asked for, by the prefix."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def __contains__(self, prefix: object) -> bool:
        return bool(self._index.recall(f"agency:{prefix}"))

    def __getitem__(self, prefix: str) -> str:
        name = f"agency:{prefix}"
        return str(self._index.recall(name)[name])

    def __setitem__(self, prefix: str, agency: str) -> None:
        self._index.remember({f"agency:{prefix}": agency})


class Spending:
    """What OpenAlex has cost in a day, in UTC, and that it stays within what it may."""

    def __init__(self, index: Index, *, usd_a_day: float) -> None:
        self._index = index
        self._usd_a_day = usd_a_day
        self._lock = threading.Lock()

    def take(self, usd: float, now: float) -> bool:
        """Spend so much at `now`, in Unix seconds; False, and nothing, where it is not there."""
        with self._lock:
            spent = self.spent(now)
            if spent + usd > self._usd_a_day + usd / 2:  # sums of a tenth of a cent are not exact
                return False
            self._index.remember({_day(now): spent + usd})
            return True

    def spent(self, now: float) -> float:
        """What the day of `now` has cost, in US dollars."""
        return float(self._index.recall(_day(now)).get(_day(now), 0.0))


def note(index: Index, state: Mapping[str, Any]) -> None:
    """Keep how far the resolver is, for `metadata status`."""
    index.remember({STATE: dict(state)})


def noted(index: Index) -> dict[str, Any]:
    """How far the resolver was when it last said so."""
    state: dict[str, Any] = index.recall(STATE).get(STATE, {})
    return state


def abstracts_since(index: Index, *, wanted: bool, now: float) -> float:
    """Since when abstracts are kept of what registries say, in Unix seconds.

    What was kept before has none, whatever the registry said, and is asked for again.
    """
    since: int | None = index.recall(ABSTRACTS).get(ABSTRACTS)
    if wanted != (since is not None) and (wanted or index.path.exists()):
        since = int(now) if wanted else None
        index.remember({ABSTRACTS: since})
    return float(since) if since is not None else 0.0


def _day(now: float) -> str:
    return f"openalex:{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
