"""What a worker process says of itself, for those who ask how things stand."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class InHand(BaseModel):
    """A batch that a worker has in hand: how much of it is embedded, and since when it has it."""

    model_config = ConfigDict(frozen=True)

    job: str
    number: int
    records: int
    embedded: int
    for_s: float


class WorkerState(BaseModel):
    """A worker's own words, renewed each second while it works.

    `name` is its host and process. `waiting` is what it waits for, `trouble` why it is unhealthy;
    both are empty where all is well. `points` is how many the live collection had a moment ago;
    `silent_s` is how long ago it said so, by Redis's clock.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    host: str
    pid: int
    phase: Literal["starting", "working", "stopping"]
    waiting: str = ""
    trouble: str = ""
    in_hand: tuple[InHand, ...] = ()
    records_per_s: float = 0.0
    collection: str | None = None
    points: int | None = None
    silent_s: float = 0.0
