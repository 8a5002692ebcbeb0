"""What ran in a model's life, when, and what came of it."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from schemas.evaluation import Frozen

Kind = Literal["refine", "promote", "rollback", "prune"]


class Entry(Frozen):
    """One run that ended, as the history keeps it.

    `outcome` is a word or two for tables (`promoted`, `refused`, `nothing new`, `switched`,
    `pruned`, `failed`), `words` a line for people. `version` is the model that it was about,
    `previous` the one that was live before, each whole where there is one. `details` has what
    else the kind knows: numbers, texts, lists.
    """

    kind: Kind
    started_at: AwareDatetime
    ended_at: AwareDatetime
    outcome: str
    version: str | None = None
    previous: str | None = None
    words: str = ""
    details: dict[str, Any] = Field(default_factory=dict)

    @property
    def took(self) -> timedelta:
        """How long it ran; nothing where the clock was set back meanwhile."""
        return max(self.ended_at - self.started_at, timedelta(0))
