"""The part of a model card that says how the version came to be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.training import TrainingRecord
from trainer.card.markdown import code, section, short, table


def lineage(version: str, record: TrainingRecord, earlier: Sequence[TrainingRecord] = ()) -> str:
    """The section `Lineage`: parent, data, code, device and durations, the recipe, the packages.

    `earlier` are other runs that came out at this very version.
    """
    recipe = [[code(name), code(value)] for name, value in flat(record.recipe)]
    return section(
        "Lineage",
        table(["what", "value"], _facts(version, record)),
        "### Recipe\n\nEvery value that was in force.",
        table(["name", "value"], recipe),
        *_others(record, earlier),
        "### Packages",
        table(["package", "version"], sorted(record.packages.items())),
    )


def _others(record: TrainingRecord, earlier: Sequence[TrainingRecord]) -> Iterator[str]:
    if not earlier:
        return
    yield "### Other runs\n\nThey made the same weights. What differs from the recipe above:"
    own = dict(flat(record.recipe))
    heads = ["name", "started", "parent", "dataset", "held-out set", "recipe"]
    rows = [
        [
            one.name,
            one.started_at.isoformat(timespec="seconds"),
            *(short(value) for value in (one.parent, one.dataset, one.held_out)),
            ", ".join(code(f"{n}={v}") for n, v in flat(one.recipe) if own.get(n) != v) or "–",
        ]
        for one in earlier
    ]
    yield table(heads, rows)


def _facts(version: str, record: TrainingRecord) -> list[tuple[str, str]]:
    pairs = record.pairs
    return [
        ("version", code(version)),
        ("name", record.name),
        ("parent", code(record.parent)),
        ("dataset", code(record.dataset)),
        ("shards of the dataset", ", ".join(short(shard) for shard in record.shards)),
        ("metadata", code(record.metadata)),
        ("held-out set", code(record.held_out)),
        ("pairs trained on", f"{pairs.trained:,}, {pairs.positives:,} of them with label 1"),
        ("left out: of a held-out group", f"{pairs.held_out_group:,} pairs"),
        ("left out: with a held-out DOI", f"{pairs.held_out_doi:,} pairs"),
        ("left out: not read by the templates", f"{pairs.unread:,} pairs"),
        *([("set apart to stop by", f"{pairs.development:,} pairs")] if pairs.development else ()),
        ("code", ", ".join(code(one) for one in record.code)),
        ("device", record.device),
        ("started", record.started_at.isoformat(timespec="seconds")),
        ("training", f"{record.steps:,} optimizer steps in {record.train_s:,.1f} s"),
        *([("weights kept", kept)] if (kept := kept_words(record)) else ()),
    ]


def kept_words(record: TrainingRecord) -> str | None:
    """Which step's weights were kept, and why; None where they are those of the last one."""
    if record.kept_step is None:
        return None
    losses = ", ".join(f"{point.loss:.4f} at {point.step:,}" for point in record.development)
    return f"those of step {record.kept_step:,}; development loss: {losses}"


def flat(recipe: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of nested mappings, under its names joined by dots."""
    for name, value in recipe.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield above + name, value
