"""What the trainer takes, asks for and waits for."""

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    NonNegativeFloat,
    field_validator,
)

from worker.settings.slices import Slice


class PairSettings(Slice):
    """What labelled pairs may be at the most: labels are input from outside."""

    file_pairs: int = Field(default=10_000_000, ge=1, description="pairs in one import")
    store_pairs: int = Field(default=50_000_000, ge=1, description="pairs in the store")
    sources: int = Field(
        default=100, ge=1, description="sources (what stands before a colon) in the store"
    )
    apart: tuple[str, ...] = Field(
        default=("retractionwatch",),
        description="sources that are reported, but are not in an evaluation's totals",
    )
    source_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="share of all pairs that one source may have, where there are several",
    )
    renew_days: int = Field(
        default=365,
        ge=1,
        description="a refine renews a held-out set whose questions are older, in days",
    )


Metric = Literal[
    "ndcg@10", "recall@10", "mrr", "roc_auc", "average_precision", "spearman", "pearson"
]
Guard = Literal[Metric, "random_roc_auc"]


class GateSettings(Slice):
    """What a challenger must show to replace a champion; see `trainer.evaluation.gate`."""

    metric: Metric = Field(
        default="ndcg@10", description="the metric that must get better by more than chance"
    )
    guards: dict[Guard, NonNegativeFloat] = Field(
        default={
            "roc_auc": 0.02,
            "average_precision": 0.02,
            "recall@10": 0.01,
            "mrr": 0.01,
            "random_roc_auc": 0.01,
        },
        description="how much each of these metrics may fall over all held-out pairs, "
        "`random_roc_auc` beside documents drawn at random",
    )
    slice_margin: float = Field(
        default=0.03, ge=0, description="how much the metric and the guards may fall in a slice"
    )
    minimum_groups: int = Field(
        default=50,
        ge=2,
        description="groups that a decision needs, over all and in a slice",
    )


class RefineSettings(Slice):
    """What `doi-trainer refine` does where its options don't say otherwise."""

    recipe: str = Field(
        default="title", description="the recipe of a refine: a name, or a .toml file"
    )
    parent: Literal["base", "live"] = Field(
        default="base", description="what a refine trains from: the base model, or the live one"
    )
    allow_missing: bool = Field(
        default=False,
        description="promote a model too that can't read some of the collection's records",
    )


class ScheduleSettings(Slice):
    """When `doi-trainer schedule` asks for what."""

    refine: str = Field(
        default="0 3 * * sun",
        description="when to refine, as in a crontab: minute, hour, day of month, month, weekday; "
        "where both kinds of days are named, both must apply",
    )
    time_zone: str = Field(
        default="UTC", description="the crontab's time zone, such as Europe/Berlin"
    )

    @field_validator("time_zone")
    @classmethod
    def _time_zone_is_known(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"there is no time zone {name!r} on this machine") from error
