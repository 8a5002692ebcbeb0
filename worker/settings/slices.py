"""What parts of the settings are made of."""

from typing import TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
)

T = TypeVar("T")
PREFIX = "DOIVEC_"


class Slice(BaseModel):
    """A part of the settings; frozen, strict about names, silent about values in its errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )
