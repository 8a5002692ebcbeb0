"""What lies beside a version's manifest: its provenance, its evaluation, its cards."""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from schemas.evaluation import EvalReport
from schemas.model import ModelVersion
from schemas.training import TrainingRecord
from worker.errors import ModelError

RECORD, STOCK_CARD, EVALUATION = "training", "stock_card", "evaluation.json"
REPORTS = TypeAdapter(list[EvalReport])


class Run(NamedTuple):
    """A run that made a version: its provenance, and the card that the Trainer wrote."""

    record: TrainingRecord
    stock_card: Path


class Version(NamedTuple):
    """A registered version: where it is, its manifest, its runs' provenance, its evaluation."""

    path: Path
    manifest: ModelVersion
    records: tuple[TrainingRecord, ...]
    reports: list[EvalReport]

    @classmethod
    def read(cls, path: Path, manifest: ModelVersion) -> "Version":
        """Read what lies beside the manifest, where there is something; raises `ModelError`."""
        return cls(path, manifest, read_records(path), read_reports(path))

    @property
    def record(self) -> TrainingRecord | None:
        """The provenance of the last run; None for a version that wasn't trained here."""
        return self.records[-1] if self.records else None

    @property
    def account(self) -> dict[str, Any]:
        """All of it, for JSON; `earlier` are other runs that came out at the same version."""
        return {
            **self.manifest.model_dump(mode="json", exclude={"canaries"}),
            "path": str(self.path),
            "training": self.record.model_dump(mode="json") if self.record else None,
            "earlier": [record.model_dump(mode="json") for record in self.records[:-1]],
            "evaluation": [r.model_dump(mode="json") for r in self.reports],
        }


def notes_of(run: str, record: TrainingRecord, stock_card: str) -> dict[str, str]:
    """What is kept of a run with the version that it made: the texts by their files' names."""
    text = record.model_dump_json(indent=2) + "\n"
    return {f"{RECORD}-{run}.json": text, f"{STOCK_CARD}-{run}.md": stock_card}


def read_runs(path: Path) -> list[Run]:
    """The runs that made the version in this directory, the last one last.

    Two runs come out at one version where they make the same weights for the same templates.
    Raises `ModelError` where a record can't be read.
    """
    found = []
    for file in path.glob(f"{RECORD}*.json"):
        try:
            record = TrainingRecord.model_validate_json(file.read_text("utf-8"))
        except (OSError, ValidationError) as error:
            raise ModelError(f"{file} can't be read: {str(error).splitlines()[0]}") from error
        card = path / f"{STOCK_CARD}{file.stem.removeprefix(RECORD)}.md"
        found.append(Run(record, card))
    return sorted(found, key=lambda run: run.record.started_at)


def read_records(path: Path) -> tuple[TrainingRecord, ...]:
    """The provenance of each run that made the version in this directory, the last one last.

    None for a version that wasn't trained here. Raises `ModelError`.
    """
    return tuple(run.record for run in read_runs(path))


def read_record(path: Path) -> TrainingRecord | None:
    """The provenance of the last run; None where there was none. Raises `ModelError`."""
    return next(iter(read_records(path)[::-1]), None)


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
