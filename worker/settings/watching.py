"""What is logged and told of a process."""

from typing import Any, Literal

from pydantic import (
    Field,
    field_validator,
)

from worker.settings.slices import Slice


class LogSettings(Slice):
    """What a worker, a trainer or a clock writes to its log, on standard error."""

    format: Literal["text", "json"] = Field(
        default="text", description="a line of text, or an object of JSON, for each event"
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="the least severe events that are logged"
    )

    @field_validator("level", mode="before")
    @classmethod
    def _in_capitals(cls, level: Any) -> Any:
        return level.upper() if isinstance(level, str) else level


class MetricsSettings(Slice):
    """Where a process tells how it is: /metrics for Prometheus, /livez and /readyz."""

    port: int | None = Field(
        default=None, ge=1, le=65535, description="its HTTP port; without one, nothing is served"
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="the address that it listens at; `0.0.0.0` lets other machines ask",
    )
    stalled_s: float = Field(
        default=600.0,
        gt=0,
        description="a worker that has work and has settled nothing for so long is unhealthy",
    )
