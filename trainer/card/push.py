"""A version with its card, brought to where others can take it: a directory, or a hub."""

import shutil
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from httpx2 import HTTPError
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from trainer.errors import PushRefused

CARD = "README.md"
NOT_ALLOWED = (401, 403)
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


def upload(version: Path, repository: str, *, is_public: bool = False) -> str:
    """Commit a version's directory to `repository` (owner/name) of a hub; returns its address.

    The hub is huggingface_hub's, with its own settings (HF_ENDPOINT, HF_TOKEN). A repository that
    isn't there yet is made, a private one unless `is_public`; one that is there stays as private as
    it is, and gets a commit. Raises as `push` does, and `PushRefused` for what the hub refuses.
    """
    _check_card(version / CARD)
    hub = HfApi()
    try:
        made = hub.create_repo(repository, private=not is_public, exist_ok=True)
        hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=version,
            commit_message=f"doivec {version.name}",
            delete_patterns="*",  # what an earlier version had and this one has not
        )
    except (HTTPError, LocalTokenNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split())
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        wants_token = status in NOT_ALLOWED or isinstance(error, LocalTokenNotFoundError)
        hint = "; HF_TOKEN must be one that may write there" if wants_token else ""
        raise PushRefused(f"{repository} at {hub.endpoint}: {reason}{hint}") from error
    return str(made)


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
