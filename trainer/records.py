"""What lies beside a version's manifest: its provenance, its evaluation, its cards."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from schemas.evaluation import EvalReport
from schemas.training import TrainingRecord
from worker.errors import ModelError

RECORD, STOCK_CARD, EVALUATION = "training.json", "stock_card.md", "evaluation.json"
REPORTS = TypeAdapter(list[EvalReport])


def read_record(path: Path) -> TrainingRecord | None:
    """The provenance of the version in this directory; None for one that wasn't trained here.

    Raises `ModelError` where it can't be read.
    """
    try:
        return TrainingRecord.model_validate_json((path / RECORD).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path / RECORD} can't be read: {str(error).splitlines()[0]}") from error


def read_reports(path: Path) -> list[EvalReport]:
    """The reports of the version's last evaluation, its own first; none before there was one.

    Raises `ModelError` where they can't be read.
    """
    try:
        return REPORTS.validate_json((path / EVALUATION).read_text("utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path / EVALUATION} can't be read") from error
