"""Training checkpoints that a run trusts: sealed when whole, refused when changed."""

import json
import re
from hashlib import file_digest
from pathlib import Path

from trainer.errors import TrainingError
from worker.files import sync, write_text

SEAL = "doivec.json"
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
    facts = json.loads(found[-1].read_text())
    if facts["files"] != _hashes(path):
        raise TrainingError(f"the checkpoint {path} was changed; remove it to train without it")
    return path, float(facts["train_s"])


def _step(checkpoint: Path) -> int:
    found = NAME.fullmatch(checkpoint.name)
    return int(found[1]) if found else -1


def _hashes(path: Path) -> dict[str, str]:
    files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name != SEAL)
    return {p.relative_to(path).as_posix(): _sha256(p) for p in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
