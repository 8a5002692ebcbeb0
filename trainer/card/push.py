"""A version with its card, brought to a directory that others can take it from."""

import shutil
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from huggingface_hub import ModelCard

from trainer.errors import PushRefused

CARD = "README.md"
NEEDED = ("license", "library_name", "pipeline_tag", "tags")


def push(version: Path, target: Path) -> None:
    """Copy a version's directory to `target`, which is made and must not hold anything yet.

    It is complete or not there. Raises `PushRefused`, also for a version without a model card, or
    with one whose front matter a hub would not take, and `OSError`.
    """
    _check_card(version / CARD)
    target = target.resolve()
    is_empty = target.is_dir() and not any(target.iterdir())
    if target.exists() and not is_empty:
        raise PushRefused(f"{target} is there already: push to a folder that isn't, or is empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".new-{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        shutil.copytree(version, aside)
        aside.rename(target)  # an empty folder gives way
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_card(path: Path) -> None:
    try:
        head = ModelCard(path.read_text("utf-8")).data
    except FileNotFoundError as error:
        raise PushRefused(
            "it was not trained here, and has no model card: push what it was made from"
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        raise PushRefused(f"the front matter of {path} can't be read: {error}") from error
    if lacking := [name for name in NEEDED if not head.get(name)]:
        raise PushRefused(f"the front matter of {path} lacks {', '.join(lacking)}")
