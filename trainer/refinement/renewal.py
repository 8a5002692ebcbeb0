"""Fresh questions for the gate, once those in force have been asked for long."""

from collections.abc import Callable, Sequence
from datetime import datetime

from trainer.errors import EvaluationError, HeldOutUnknown, PairsError, TrainingError
from trainer.evaluation import assessment
from trainer.evaluation.subjects import Subject
from trainer.stores import Stores
from trainer.training import judging

SHORT = 12


def renew_if_due(
    stores: Stores, champion: Callable[[], Subject], *, templates: Sequence[str], now: datetime
) -> str | None:
    """Renew the held-out set in force where it is older than the settings say.

    Returns what was done, or why it couldn't be; None where it isn't due. Only what could judge
    the champion beside a model that reads by `templates` is taken.
    """
    try:
        frozen = stores.held_out.load()
    except HeldOutUnknown:
        return None
    days = (now - stores.held_out.since(frozen.id)).days
    if days < stores.settings.pairs.renew_days:
        return None
    due = f"the questions of the held-out set {frozen.id[:SHORT]} are {days} days old"
    try:
        found = judging.renewed(stores, share=frozen.reserve or judging.FIRST_SHARE)
        assessment.check_judges(
            stores, champion(), found, templates=templates, rules=stores.settings.gate
        )
    except (EvaluationError, PairsError, TrainingError) as error:
        return f"{due}, and stay: {error}"
    kept = stores.held_out.keep(found)
    return f"{due}: renewed as {kept.id[:SHORT]}, {len(kept.pairs):,} pairs that no model has met"
