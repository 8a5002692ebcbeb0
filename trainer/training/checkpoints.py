"""Training checkpoints that a run trusts: sealed when whole, refused when changed."""

import json
import re
import shutil
from hashlib import file_digest
from pathlib import Path

from trainer.errors import TrainingError
from worker.files import sync, write_text

SEAL = "doivec.json"
MIB = 2**20
NAME = re.compile(r"checkpoint-([0-9]+)")


def seal(checkpoint: Path, *, train_s: float) -> None:
    """Say that a checkpoint is whole: the SHA-256 of each of its files, and the time it took."""
    facts = {"files": _hashes(checkpoint), "train_s": train_s}
    for path in checkpoint.rglob("*"):
        sync(path)
    sync(checkpoint)
    write_text(checkpoint / SEAL, json.dumps(facts))


def last(folder: Path) -> tuple[Path, float] | None:
    """The newest whole checkpoint in a run's folder, and the seconds of training behind it.

    One without its seal was cut off while it was written, and is passed over. Raises
    `TrainingError` where a file is not what the seal says. The Trainer reads the tensors in it
    without unpickling objects (`weights_only`).
    """
    found = sorted(folder.glob(f"checkpoint-*/{SEAL}"), key=lambda path: _step(path.parent))
    if not found:
        return None
    path = found[-1].parent
    return path, check(path)


def check(checkpoint: Path) -> float:
    """The seconds of training behind a checkpoint; raises `TrainingError` where it was changed."""
    facts = json.loads((checkpoint / SEAL).read_text())
    if facts["files"] != _hashes(checkpoint):
        raise TrainingError(
            f"the checkpoint {checkpoint} was changed; remove it to train without it"
        )
    return float(facts["train_s"])


def check_space(folder: Path, parent: Path) -> None:
    """Raise `TrainingError` where `folder` can't hold a run from the model in `parent` for sure.

    That is the least: the weights, a checkpoint of them with AdamW's two moments of some, and the
    copy in the registry.
    """
    needed = 3 * sum(path.stat().st_size for path in parent.rglob("*.safetensors"))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"{folder} has {free // MIB:,} MiB free, a run needs at least {needed // MIB:,}"
        )


def discard_unsealed(folder: Path) -> None:
    """Remove what was half written into a run's folder."""
    for path in (*folder.glob("checkpoint-*"), *folder.glob(".new-*")):
        if path.is_dir() and not (path / SEAL).exists():
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink(missing_ok=True)


def _step(checkpoint: Path) -> int:
    found = NAME.fullmatch(checkpoint.name)
    return int(found[1]) if found else -1


def _hashes(path: Path) -> dict[str, str]:
    files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name != SEAL)
    return {p.relative_to(path).as_posix(): _sha256(p) for p in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
