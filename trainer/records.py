"""What lies beside a version's manifest: its provenance, its evaluation, its cards."""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from schemas.evaluation import EvalReport
from schemas.model import ModelVersion
from schemas.training import TrainingRecord
from worker.errors import ModelError

RECORD, STOCK_CARD, EVALUATION = "training.json", "stock_card.md", "evaluation.json"
REPORTS = TypeAdapter(list[EvalReport])


class Version(NamedTuple):
    """A registered version: where it is, its manifest, its provenance and its evaluation."""

    path: Path
    manifest: ModelVersion
    record: TrainingRecord | None
    reports: list[EvalReport]

    @classmethod
    def read(cls, path: Path, manifest: ModelVersion) -> "Version":
        """Read what lies beside the manifest, where there is something; raises `ModelError`."""
        return cls(path, manifest, read_record(path), read_reports(path))

    @property
    def account(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            **self.manifest.model_dump(mode="json", exclude={"canaries"}),
            "path": str(self.path),
            "training": self.record.model_dump(mode="json") if self.record else None,
            "evaluation": [r.model_dump(mode="json") for r in self.reports],
        }


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
