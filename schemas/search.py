"""What a similarity query answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Hit(BaseModel):
    """A similar DOI: its cosine similarity to the query, and what the payload says of it."""

    model_config = ConfigDict(frozen=True)

    doi: str
    score: float
    metadata: dict[str, Any]
