"""The refine that was asked for: remembered in the ledger until it has ended."""

import logging
from typing import Any

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, field_validator

from schemas.evaluation import Frozen
from worker.ledger.ledger import Ledger
from worker.settings.training import RefineSettings

NOTE = "refine"
KEPT_S = 366 * 86400.0  # how long a request is known again
LOCK_TIMEOUT_S = 60.0
log = logging.getLogger(__name__)


class Wishes(Frozen):
    """What a refine is to do: its recipe, and `parent`: `base`, `live`, or a version.

    `allow_missing` promotes a model too that can't read some records of the collection; `force`
    runs again what has led to an end already.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: str
    parent: str
    allow_missing: bool = False
    force: bool = False

    @field_validator("recipe", "parent")
    @classmethod
    def _is_text(cls, name: str) -> str:
        if not name.isprintable():  # half a surrogate pair, which can't be kept
            raise ValueError("a name holds no such character")
        return name

    @classmethod
    def of(cls, settings: RefineSettings, /, **others: Any) -> "Wishes":
        """What the settings say, and what was asked for otherwise; None counts as not asked."""
        asked = {name: value for name, value in others.items() if value is not None}
        return cls.model_validate({**settings.model_dump(), **asked})


class Request(Frozen):
    """A refine that was asked for; `wishes` has what it is to do otherwise than the settings say.

    `id` is the slot's label or the task's id: the same request again is no other one. `starts`
    counts how often a process began it and did not come back.
    """

    id: str
    asked_at: AwareDatetime
    wishes: dict[str, Any] = Field(default_factory=dict)
    starts: int = 0


class Pending:
    """The one request that has not ended.

    A message is a claim check: what it asks for is kept here before it is acknowledged, so that
    no worker's death loses it, and no repetition of the message runs it twice. Every method
    raises `LedgerUnavailable`.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(self, request: Request) -> str:
        """Keep a request: 'taken', 'repeated' (it was here before), or 'busy' with another one."""
        with self._ledger.exclusive("refine-request", timeout_s=LOCK_TIMEOUT_S):
            pending = self.read()
            if pending is not None and pending.id != request.id:
                return "busy"
            if pending is not None:  # cut off, perhaps, before its name was taken
                self._ledger.once(f"refine-request:{request.id}", keep_s=KEPT_S)
                return "repeated"
            self.keep(request)  # first: what dies now is looked at once more, and not forgotten
            if self._ledger.once(f"refine-request:{request.id}", keep_s=KEPT_S):
                return "taken"
            self.end()
            return "repeated"

    def read(self) -> Request | None:
        """The request that has not ended."""
        text = self._ledger.noted(NOTE)
        try:
            return None if text is None else Request.model_validate_json(text)
        except ValidationError:
            log.exception("what was asked for can't be read, and is dropped: %r", text)
            self.end()
            return None

    def keep(self, request: Request) -> None:
        """Keep a request as it is now."""
        self._ledger.note(NOTE, request.model_dump_json())

    def end(self) -> None:
        """Forget the request: it has ended."""
        self._ledger.note(NOTE, None)
