"""From a recipe and the imported pairs to a registered version."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as installed
from pathlib import Path
from typing import NamedTuple

from schemas.training import PairCounts, TrainingRecord
from trainer.data import split
from trainer.errors import TrainingError
from trainer.records import notes_of, read_records
from trainer.stores import Stores
from trainer.training import examples, judging
from trainer.training.finished import Finished
from trainer.training.following import Progress, Stop
from trainer.training.recipe import Recipe
from trainer.training.train import fine_tune
from worker.files import write_text
from worker.model.origin import BASE, resolve_source
from worker.model.registry import identify

VERSION, STARTED = "version", "started.json"
DECIDING_PACKAGES = (
    "doivec",
    "torch",
    "sentence-transformers",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "numpy",
)
SHORT = 12
ROOT = Path(__file__).parents[2]


class Parent(NamedTuple):
    """What a run begins with: `base` or a registered version, and its directory."""

    name: str
    version: str
    path: Path


class Plan(NamedTuple):
    """A run before it begins: what it trains on, and the folder that only this run has.

    `told` says where the texts are from, and what was done to the held-out set for it.
    """

    recipe: Recipe
    parent: Parent
    dataset: str
    shards: tuple[str, ...]
    metadata: str
    held_out: str
    examples: examples.Examples
    training: split.Training
    folder: Path
    told: tuple[str, ...] = ()


def find_parent(stores: Stores, name: str) -> Parent:
    """The model of this name: `base`, or a version or its prefix; raises `ModelError`."""
    if name == BASE:
        path = resolve_source(BASE)
        return Parent(BASE, identify(path, templates=("{doi}",)), path)
    path, manifest = stores.registry.get(name)
    return Parent(manifest.version, manifest.version, path)


def plan(stores: Stores, recipe: Recipe, *, parent: str, shards: Sequence[str] = ()) -> Plan:
    """What a run of `recipe` would train on.

    These are the pairs of `shards`, or all, without those that touch the held-out set, which is
    frozen here if none was yet. What others know of their DOIs is taken in first. Raises
    `TrainingError`, `EvaluationError` where what it makes could not be judged, `PairsError`,
    `ModelError`.
    """
    dataset = stores.pairs.dataset(shards)
    if not dataset.pairs:
        raise TrainingError("there are no pairs to train on; doi-trainer pairs import FILE")
    begun, dois = find_parent(stores, parent), split.dois(dataset.pairs)
    supplied = stores.supply(dois, templates=recipe.serving)
    held_out, told = judging.in_force(stores, templates=recipe.templates)
    documents = stores.metadata.documents(dois)
    del dois  # of millions of pairs it is most of what is in memory
    training = split.training_part(dataset.pairs, held_out)
    records = read_records(begun.path) if begun.name != BASE else ()
    judging.refuse_leaks(stores, begun.name[:SHORT], records, held_out)
    made = examples.build(training.pairs, documents, recipe=recipe)
    _refuse_nothing(made, training)
    _refuse_no_development(made, recipe)
    known = (dataset.version, stores.metadata.version, held_out.id, begun.version, packages())
    identity = json.dumps([recipe.model_dump(mode="json"), *known], sort_keys=True)
    folder = stores.root / "runs" / sha256(identity.encode()).hexdigest()[:32]
    return Plan(
        recipe,
        begun,
        dataset.version,
        dataset.shards,
        stores.metadata.version,
        held_out.id,
        made,
        training,
        folder,
        (*supplied, *told),
    )


def train(
    stores: Stores, plan: Plan, *, on_step: Progress | None = None, should_stop: Stop | None = None
) -> str:
    """Carry a plan out, and return the version that it made and registered.

    One that was cut off goes on; one that ended is not run again. Raises `TrainingError`,
    `TrainingInterrupted`, `ModelError`.
    """
    done = plan.folder / VERSION
    if done.is_file() and (known := done.read_text().strip()) in stores.registry.versions():
        return known
    with _alone(plan.folder):
        return _carry_out(stores, plan, on_step=on_step, should_stop=should_stop)


def _carry_out(
    stores: Stores, plan: Plan, *, on_step: Progress | None, should_stop: Stop | None
) -> str:
    stores.registry.prepare()
    begun, codes = _begin(plan.folder)
    finished = fine_tune(
        plan.recipe,
        plan.examples.tables,
        parent=plan.parent.path,
        parent_name=plan.parent.name,
        folder=plan.folder,
        device=stores.settings.embed.device,
        threads=stores.settings.embed.threads,
        on_step=on_step,
        should_stop=should_stop,
        development=plan.examples.development,
    )
    made = _register(stores, plan, finished, started=begun, codes=codes)
    write_text(plan.folder / VERSION, made)
    shutil.rmtree(finished.path, ignore_errors=True)
    return made


def _refuse_nothing(made: examples.Examples, training: split.Training) -> None:
    if not made.trained:
        raise TrainingError(
            f"no pair is left to train on: {training.group_dropped:,} are of held-out groups, "
            f"{training.doi_dropped:,} touch a held-out DOI, {made.unread:,} have no text for the "
            f"recipe's templates, and of {len(training.pairs) - made.unread:,} its loss takes none"
        )


def _refuse_no_development(made: examples.Examples, recipe: Recipe) -> None:
    if recipe.development_share and not made.development:
        raise TrainingError(
            f"no pair is left to stop by: of the groups in development_share="
            f"{recipe.development_share:g} {made.overlapping:,} pairs have a DOI that is trained "
            "on, and no other has a text that the loss takes; set a larger share, or 0"
        )


def packages() -> dict[str, str]:
    """The versions of the libraries that decide what a run makes."""
    return {name: installed(name) for name in DECIDING_PACKAGES}


def code_version() -> str:
    """The SHA-256 of doivec's own sources, as they are installed."""
    digest = sha256()
    for package in ("schemas", "worker", "trainer"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".lua", ".toml"}:
                digest.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a run's folder; another process that wants the same run is told so."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError("another process is at this very run") from error
        yield


def _register(
    stores: Stores, plan: Plan, finished: Finished, *, started: datetime, codes: Sequence[str]
) -> str:
    record = TrainingRecord(
        name=plan.recipe.name,
        recipe=plan.recipe.model_dump(mode="json"),
        parent=plan.parent.name,
        dataset=plan.dataset,
        shards=plan.shards,
        metadata=plan.metadata,
        held_out=plan.held_out,
        pairs=_counts(plan),
        code=tuple(codes),
        packages=packages(),
        device=finished.device,
        started_at=started,
        train_s=finished.train_s,
        steps=finished.steps,
        log=finished.log,
        development=finished.development,
        kept_step=finished.kept_step,
    )
    stock_card = (finished.path / "README.md").read_text("utf-8")
    notes = notes_of(plan.folder.name[:SHORT], record, stock_card)
    made = stores.registry.register(
        finished.path, name=plan.recipe.name, templates=plan.recipe.serving, notes=notes
    )
    return made.version


def _counts(plan: Plan) -> PairCounts:
    return PairCounts(
        trained=plan.examples.trained,
        positives=plan.examples.positives,
        held_out_group=plan.training.group_dropped,
        held_out_doi=plan.training.doi_dropped,
        unread=plan.examples.unread,
        development=plan.examples.developed + plan.examples.overlapping,
    )


def _begin(folder: Path) -> tuple[datetime, list[str]]:
    """When the run began, and the code that it began with; further ones where it went on."""
    path = folder / STARTED
    before = json.loads(path.read_text()) if path.exists() else {}
    at = str(before.get("at") or datetime.now(UTC).isoformat())
    codes = list(dict.fromkeys([*before.get("code", ()), code_version()]))
    write_text(path, json.dumps({"at": at, "code": codes}))
    return datetime.fromisoformat(at), codes
