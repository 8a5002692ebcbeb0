"""Recipes: typed TOML files with every value that decides what a training run makes."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.model import check_templates
from trainer.errors import RecipeError

TAKEN = {"base", "prefix", "trigrams"}
Loss = Literal[
    "cosine", "cosent", "multiple_negatives_ranking", "cached_multiple_negatives_ranking"
]


class Part(BaseModel):
    """A part of a recipe: frozen, complete, strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Arguments(Part):
    """What the sentence-transformers Trainer is told, under its own names.

    `learning_rate` is AdamW's at the start; `warmup_steps` below 1 is a share of all steps;
    `max_steps` above 0 overrides `num_train_epochs`.
    """

    num_train_epochs: float = Field(gt=0)
    max_steps: int
    per_device_train_batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_steps: float = Field(ge=0)
    optim: Literal["adamw_torch", "adamw_torch_fused"]
    weight_decay: float = Field(ge=0)
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    adam_epsilon: float = Field(gt=0)
    max_grad_norm: float = Field(ge=0)
    seed: int = Field(ge=0)
    fp16: bool
    bf16: bool
    batch_sampler: Literal["batch_sampler", "no_duplicates"]
    multi_dataset_batch_sampler: Literal["round_robin", "proportional"]
    dataloader_drop_last: bool
    logging_steps: int = Field(ge=1)
    save_steps: int = Field(ge=1)
    save_total_limit: int = Field(ge=2)


class Recipe(Part):
    """How a model is made from labelled pairs.

    `templates` render the texts that it trains on. The version reads by them too, and by
    `fallbacks` what they can't read: so a model of titles embeds bare DOIs, though it is trained on
    none. The ranking losses train on the pairs with label 1, with hard `negatives` (`labelled`:
    from pairs with label 0 of the same anchor or group; `mined`: near the anchor for the parent
    model), and at most `group_positives` pairs of a group (0: all). `scale` is the ranking losses'
    inverse temperature, `mini_batch_size` the cached one's. `max_seq_length` is in tokens (0: the
    parent's). The version's weights are the average of the trained ones, by `trained_share`, and
    the parent's (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

    With a `development_share` (0: none) that share of the groups doesn't train: at every
    checkpoint the loss is taken over them. Training ends after `patience` evaluations without a
    lower one, and the trained weights are those of the lowest.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    templates: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    loss: Loss
    scale: float = Field(gt=0)
    negatives: tuple[Literal["labelled", "mined"], ...]
    group_positives: int = Field(ge=0)
    mini_batch_size: int = Field(ge=1)
    max_seq_length: int = Field(ge=0)
    trained_share: float = Field(default=1.0, gt=0, le=1)
    development_share: float = Field(default=0.0, ge=0, le=0.5)
    patience: int = Field(default=3, ge=1)
    arguments: Arguments

    @field_validator("templates")
    @classmethod
    def _templates_are_valid(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        return check_templates(templates)

    @field_validator("fallbacks")
    @classmethod
    def _fallbacks_are_valid(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        return check_templates(templates) if templates else ()

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise ValueError(f"{name} is what a baseline is called")
        return name

    @model_validator(mode="after")
    def _values_have_a_use(self) -> "Recipe":
        if self.negatives and not self.ranks:
            raise ValueError(f"the loss {self.loss} reads labels, not negatives")
        if self.negatives and self.arguments.multi_dataset_batch_sampler != "proportional":
            raise ValueError("with negatives, set multi_dataset_batch_sampler=proportional")
        if self.group_positives and not self.ranks:
            raise ValueError(f"the loss {self.loss} reads all pairs: set group_positives=0")
        if self.arguments.fp16 and self.arguments.bf16:
            raise ValueError("fp16 and bf16: one of the two")
        return self

    @property
    def serving(self) -> tuple[str, ...]:
        """The templates of the version that it makes."""
        return (*self.templates, *self.fallbacks)

    @property
    def ranks(self) -> bool:
        """Whether the loss ranks positives above negatives, and reads no labels."""
        return self.loss.endswith("multiple_negatives_ranking")


def names() -> list[str]:
    """The recipes that come with doivec, sorted."""
    files = _shipped().iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load(name: str, *, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe of this name or in this .toml file, some values set to others.

    An override is `key=value`, its key a recipe's or one of the Trainer's arguments, its value
    as in TOML (a text may go without quotes). Raises `RecipeError`.
    """
    values = _read(name)
    for override in overrides:
        _override(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"recipe {name}: {where}: {first['msg']}") from error


def _shipped() -> Traversable:
    return resources.files("trainer.training") / "recipes"


def _read(name: str) -> dict[str, Any]:
    path = Path(name)
    if path.suffix != ".toml":
        if name not in names():
            known = ", ".join(names())
            raise RecipeError(f"there is no recipe {name!r}; known are {known}, or a .toml file")
        return tomllib.loads((_shipped() / f"{name}.toml").read_text())
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"the recipe {name} can't be read: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"{override!r} is not key=value")
    if key in Arguments.model_fields:
        arguments = values.get("arguments", {})
        if isinstance(arguments, dict):  # else the recipe is refused for it
            values["arguments"] = arguments | {key: _value(text)}
    elif key in Recipe.model_fields and key != "arguments":
        values[key] = _value(text)
    else:
        known = ", ".join([*Recipe.model_fields, *Arguments.model_fields])
        raise RecipeError(f"a recipe has no value {key!r}; it has {known}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
