"""Which model, and how texts are embedded."""

from typing import Literal

from pydantic import (
    Field,
)

from worker.settings.slices import Slice


class ModelSettings(Slice):
    """The model of the first collection; later ones come by promotion."""

    name: str = Field(
        default="base",
        description="`base` (all-MiniLM-L6-v2), a sentence-transformers directory, or a hub name",
    )
    revision: str | None = Field(
        default=None, description="the commit of a hub name; required for one"
    )
    templates: tuple[str, ...] = Field(
        default=("{title}", "{doi}"),
        min_length=1,
        description="text templates; the first whose fields a record has applies",
    )


class EmbedSettings(Slice):
    """How texts are embedded; none of this decides what a vector is."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto: the fastest the device has that keeps parity"
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="torch's threads; without it, the cores divided by `workers_per_machine`",
    )
    workers_per_machine: int = Field(
        default=1, ge=1, description="worker processes that share this machine's cores"
    )
