"""What a promotion or a rollback set out to do: noted in the ledger, so that it can go on."""

from typing import Literal

from pydantic import AwareDatetime

from schemas.evaluation import Frozen


class Intent(Frozen):
    """From which collection to which, and on what terms; `version` is the target's, whole."""

    kind: Literal["promote", "rollback"]
    version: str
    source: str
    target: str
    allow_missing: bool
    now: bool
    started_at: AwareDatetime
