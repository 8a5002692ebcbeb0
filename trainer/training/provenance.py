"""What the weights of a version come from: the runs that made them, and what nobody knows."""

from pathlib import Path

from schemas.model import ModelVersion
from trainer.records import Run, read_runs
from trainer.stores import Stores
from worker.errors import ModelError
from worker.model.origin import BASE, BASE_WEIGHTS

WEIGHTS = ".safetensors"


def runs_of(stores: Stores, path: Path, manifest: ModelVersion) -> tuple[Run, ...]:
    """The runs that made a version's weights, the last one last; raises `ModelError`.

    Where a trained model was taken in by its directory, they are those of the version with the
    same weights. None where no run of this registry made them.
    """
    if found := read_runs(path):
        return tuple(found)
    own = _weights(manifest)
    known = (stores.registry.look(version) for version in stores.registry.versions())
    return tuple(run for other, one in known if _weights(one) == own for run in read_runs(other))


def strangers(stores: Stores, version: str) -> frozenset[str]:
    """Digests of the weights in a version's lineage of which nobody knows what they trained on.

    These are weights that were taken in by name, but for the base model's; and those of an
    ancestor that is gone, by its version. Raises `ModelError` where the version isn't there.
    """
    queue, met, found = [stores.registry.look(version)[1].version], {BASE}, set()
    while queue:
        name = queue.pop()
        met.add(name)
        try:
            path, manifest = stores.registry.look(name)
            runs = runs_of(stores, path, manifest)
        except ModelError:
            found.add(name)
            continue
        own = _weights(manifest)
        if not runs and own != {BASE_WEIGHTS}:
            found |= own
        queue += [run.record.parent for run in runs if run.record.parent not in met]
    return frozenset(found)


def _weights(manifest: ModelVersion) -> frozenset[str]:
    return frozenset(sha for name, sha in manifest.files.items() if name.endswith(WEIGHTS))
