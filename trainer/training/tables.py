"""What a run trains on, as the Trainer takes it: tables of texts, negatives mined, their tokens."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import datasets
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from trainer.errors import TrainingError
from trainer.training.examples import Columns
from trainer.training.recipe import Recipe

# Mined negatives: not the nearest, which are often unlabelled positives, and at most 95 % as
# similar as the positive (Moreira et al. 2024, NV-Retriever, "TopK-PercPos").
MINED_FROM, MINED_TO, MINED_MARGIN = 10, 50, 0.05


def make_tables(
    recipe: Recipe, columns: Mapping[str, Columns], *, model: SentenceTransformer
) -> Any:
    """The one table of these columns, or all of them by name; with negatives that `model` mines.

    Raises `TrainingError` where there is nothing in them.
    """
    if not any(column for own in columns.values() for column in own.values()):
        raise TrainingError("no pair is left to train on")
    made = {name: datasets.Dataset.from_dict(own) for name, own in columns.items()}
    if "mined" in recipe.negatives and "pairs" in made:
        made |= _mined(made.pop("pairs"), model)
    return datasets.DatasetDict(made) if len(made) > 1 else next(iter(made.values()))


def as_tables(columns: Mapping[str, Columns]) -> datasets.DatasetDict | None:
    """Tables of columns by name, as they are; None of nothing."""
    made = {name: datasets.Dataset.from_dict(own) for name, own in columns.items()}
    return datasets.DatasetDict(made) if made else None


def tokens_of(model: SentenceTransformer, *given: Any) -> list[int]:
    """The token ids that the texts of all tables hold; None among them holds none."""
    every = [
        table
        for tables in given
        if tables is not None
        for table in (tables.values() if isinstance(tables, datasets.DatasetDict) else [tables])
    ]
    columns = [table[name] for table in every for name in table.column_names if name != "label"]
    texts = list(dict.fromkeys(chain.from_iterable(columns)))
    return list(set(chain.from_iterable(model.tokenizer(texts, truncation=True)["input_ids"])))


def _mined(pairs: datasets.Dataset, model: SentenceTransformer) -> dict[str, datasets.Dataset]:
    """The pairs with a negative from among all texts; those for which none is found without one."""
    found = mine_hard_negatives(
        pairs,
        model,
        corpus=list(dict.fromkeys([*pairs["anchor"], *pairs["positive"]])),
        range_min=MINED_FROM,
        range_max=MINED_TO,
        relative_margin=MINED_MARGIN,
        num_negatives=1,
        verbose=False,
    )
    have = set(zip(found["anchor"], found["positive"], strict=True))
    rows = zip(pairs["anchor"], pairs["positive"], strict=True)
    rest = pairs.select([number for number, row in enumerate(rows) if row not in have])
    return {name: table for name, table in (("mined", found), ("pairs", rest)) if len(table)}
