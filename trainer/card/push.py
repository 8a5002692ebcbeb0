"""A version with its card, brought to where others can take it: a directory, or a hub."""

import shutil
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from httpx2 import HTTPError
from huggingface_hub import HfApi, ModelCard, ModelInfo
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from trainer.errors import PushRefused
from worker.model.registry import MANIFEST

CARD = "README.md"
ATTRIBUTES = ".gitattributes"  # a hub's own file
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
    isn't there yet is made, a private one unless `is_public`. One that is there must be as private
    as that, and hold a version or nothing; the commit replaces that. Raises as `push` does, and
    `PushRefused` for what the hub refuses.
    """
    _check_card(version / CARD)
    if not sys.stderr.isatty():
        disable_progress_bars()
    hub = HfApi()
    try:
        made = hub.create_repo(repository, private=not is_public, exist_ok=True)
        _check_repository(hub.model_info(made.repo_id), is_public=is_public)
        hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=version,
            commit_message=f"doivec {version.name}",
            delete_patterns="*",  # what an earlier version had and this one has not
        )
    # A file that can't be brought there is a RuntimeError of the hub's.
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(f"{error} {error.__cause__ or ''}".split())
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        wants_token = status in NOT_ALLOWED or isinstance(error, LocalTokenNotFoundError)
        hint = "; HF_TOKEN must be one that may write there" if wants_token else ""
        raise PushRefused(f"{repository} at {hub.endpoint}: {reason}{hint}") from error
    return str(made)


def _check_repository(found: ModelInfo, *, is_public: bool) -> None:
    if bool(found.private) is is_public:
        how = "a private one, give no --public" if is_public else "a public one, give --public"
        raise PushRefused(f"{found.id} is there already: to commit to {how}")
    names = {file.rfilename for file in found.siblings or ()} - {ATTRIBUTES}
    if names and MANIFEST not in names:
        raise PushRefused(f"{found.id} holds something that isn't a version of doivec's")


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
