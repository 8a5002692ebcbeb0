"""How a refine ends: what came of it, in words and figures."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.evaluation import Verdict
from schemas.history import Entry
from trainer.refinement.roles import Promoted

PROMOTED, REFUSED, NOTHING_NEW = "promoted", "refused", "nothing new"
SHORT = 12


class End(NamedTuple):
    """What came of a refine: an outcome with its words, the version made, the one before it."""

    outcome: str
    words: str
    version: str | None = None
    previous: str | None = None
    details: Mapping[str, Any] = MappingProxyType({})

    def entry(self, started_at: datetime) -> Entry:
        """The entry of the history that says so, of a refine that ends now."""
        return Entry(
            kind="refine",
            started_at=started_at,
            ended_at=datetime.now(UTC),
            outcome=self.outcome,
            version=self.version,
            previous=self.previous,
            words=self.words,
            details=dict(self.details),
        )


def nothing_new(words: str, version: str | None = None) -> End:
    """There was nothing to do."""
    return End(NOTHING_NEW, words, version)


def promoted(version: str, done: Promoted, *, why: str, facts: Mapping[str, Any]) -> End:
    """The version is live."""
    words = f"{version[:SHORT]} replaces {done.previous[:SHORT]}: {why}"
    details = {**facts, "points": done.points, "missing": done.missing}
    return End(PROMOTED, words, version, done.previous, details)


def refused(words: str, verdict: Verdict) -> End:
    """The gate says no; or it says yes, and the promotion can't be."""
    return End(REFUSED, words, verdict.challenger, verdict.champion, facts_of(verdict))


def facts_of(verdict: Verdict) -> dict[str, Any]:
    """Why the gate says what it says, and on what."""
    return {"reasons": list(verdict.reasons), "held_out": verdict.held_out}
