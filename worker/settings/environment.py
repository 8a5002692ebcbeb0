"""All settings: the one place that reads the environment."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from worker.errors import ConfigurationError
from worker.settings.embedding import EmbedSettings, ModelSettings
from worker.settings.ingest import IngestSettings, LimitSettings
from worker.settings.metadata import MetadataSettings
from worker.settings.servers import QdrantSettings, RedisSettings
from worker.settings.slices import PREFIX, Slice
from worker.settings.training import GateSettings, PairSettings, RefineSettings, ScheduleSettings
from worker.settings.watching import LogSettings, MetricsSettings

# docker-compose.yml makes the URL of it; with the rest of .env it reaches the workers too.
COMPOSES_OWN = {"DOIVEC_REDIS_PASSWORD"}


class Settings(BaseSettings):
    """All settings, read from the environment (`DOIVEC_...`, nested by `__`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    collection: str = Field(
        default="dois",
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="the alias under which the live collection answers",
    )
    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local" / "share" / "doivec",
        description="models, and without servers the ledger and the vectors",
    )
    trace: Path | None = Field(
        default=None,
        description="write a span per step of each batch to this file, as Chrome trace events",
    )
    redis: RedisSettings = RedisSettings()
    qdrant: QdrantSettings = QdrantSettings()
    model: ModelSettings = ModelSettings()
    embed: EmbedSettings = EmbedSettings()
    limits: LimitSettings = LimitSettings()
    ingest: IngestSettings = IngestSettings()
    metadata: MetadataSettings = MetadataSettings()
    pairs: PairSettings = PairSettings()
    gate: GateSettings = GateSettings()
    refine: RefineSettings = RefineSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()


def variables(
    model: type[BaseModel] = Settings, prefix: str = PREFIX
) -> Iterator[tuple[str, FieldInfo]]:
    """Every setting there is: the name of its variable, and its field."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Slice):
            yield from variables(field.annotation, f"{variable}__")
        else:
            yield variable, field


def read_settings() -> Settings:
    """The settings that the environment gives; raises `ConfigurationError`, in one line."""
    _refuse_what_is_no_setting()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        told = _line(first["msg"].removeprefix("Value error, "))
        raise ConfigurationError(f"{name}: {told}") from error
    except SettingsError as error:
        raise ConfigurationError(_line(str(error))) from error


def _refuse_what_is_no_setting() -> None:
    known = [name for name, _ in variables()]
    for name, value in os.environ.items():
        if not name.upper().startswith(PREFIX) or name in COMPOSES_OWN:
            continue
        if name.upper() not in known:
            (nearest,) = get_close_matches(name.upper(), known, n=1, cutoff=0.0)
            raise ConfigurationError(f"{_line(name)} is no setting; the nearest is {nearest}")
        if not _is_text(value):
            raise ConfigurationError(f"{name} is not UTF-8 text")
        if not value.strip():
            raise ConfigurationError(f"{name} is empty: give it a value, or leave it out")


def _line(text: str) -> str:
    return " ".join(text.split())  # a value may hold a line break, and be quoted


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that Python could not decode
        return False
    return True
