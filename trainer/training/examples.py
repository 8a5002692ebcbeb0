"""Labelled pairs and their documents as the columns that a loss reads."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from schemas.document import Document
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.data.table import Pairs, Places, Where
from trainer.training.development import set_apart
from trainer.training.recipe import Recipe

Columns = dict[str, list[Any]]
Texts = Sequence[str | None]  # by the codes of DOIs


class Examples(NamedTuple):
    """Named tables of equally long columns, and what they were made of.

    `trained` counts the pairs that are in a table, `positives` those with label 1, `unread` the
    pairs of which the templates cover one side or none. `development` are tables to stop by,
    `developed` counts their pairs, `overlapping` those of the same groups that are in no table.
    """

    tables: dict[str, Columns]
    trained: int
    positives: int
    unread: int
    development: Mapping[str, Columns] = MappingProxyType({})
    developed: int = 0
    overlapping: int = 0


def build(
    pairs: Sequence[LabelledPair], documents: Mapping[str, Document], *, recipe: Recipe
) -> Examples:
    """The tables that `recipe`'s loss trains on.

    For cosine and cosent `sentence_0`, `sentence_1`, `label`; for the ranking losses `anchor`,
    `positive` and, in a table of its own, `negative` where there is a labelled one. Which negative
    an anchor with several gets is drawn by the recipe's seed. The development split is made like
    them.
    """
    rows = Pairs.of(pairs)
    parts = set_apart(rows, share=recipe.development_share)
    texts = _texts(rows, documents, recipe.templates)
    made = _build(parts.trained, texts, recipe=recipe)
    apart = _build(parts.development, texts, recipe=recipe)
    return made._replace(
        unread=made.unread + apart.unread,
        development={
            name: columns for name, columns in apart.tables.items() if any(columns.values())
        },
        developed=apart.trained,
        overlapping=parts.dropped,
    )


def _texts(rows: Pairs, documents: Mapping[str, Document], templates: Sequence[str]) -> Texts:
    """What is read of each DOI among the words that a pair has."""
    words = zip(rows.words.dois, rows.used().tolist(), strict=True)
    return [
        render(documents.get(doi) or Document(doi=doi), templates) if is_used else None
        for doi, is_used in words
    ]


def _build(rows: Pairs, texts: Texts, *, recipe: Recipe) -> Examples:
    has_text = np.array([text is not None for text in texts], bool)
    read = rows.only(has_text[rows.doi_a] & has_text[rows.doi_b])
    positives = np.flatnonzero(read.label)
    count, unread = len(positives), len(rows) - len(read)
    if not recipe.ranks:
        table: Columns = {
            "sentence_0": [texts[code] for code in read.doi_a.tolist()],
            "sentence_1": [texts[code] for code in read.doi_b.tolist()],
            "label": read.label.astype(float).tolist(),
        }
        return Examples({"pairs": table}, len(read), count, unread)
    drawn = random.Random(recipe.arguments.seed)  # noqa: S311 - a draw, no secret
    if recipe.group_positives:
        positives = _cap(read, positives, limit=recipe.group_positives, drawn=drawn)
    negatives = _negatives(read, texts, drawn=drawn) if "labelled" in recipe.negatives else {}
    has_one = np.isin(positives, list(negatives))
    tables = {
        "triplets": _sides(read, texts, positives[has_one])
        | {"negative": [negatives[place] for place in positives[has_one].tolist()]},
        "pairs": _sides(read, texts, positives[~has_one]),
    }
    kept = {name: columns for name, columns in tables.items() if columns["anchor"]}
    return Examples(kept, len(positives), len(positives), unread)


def _sides(read: Pairs, texts: Texts, places: Places) -> Columns:
    sides = {"anchor": read.doi_a[places], "positive": read.doi_b[places]}
    return {name: [texts[code] for code in codes.tolist()] for name, codes in sides.items()}


def _cap(read: Pairs, positives: Places, *, limit: int, drawn: random.Random) -> Places:
    """At most so many of the positives' places of each group, in their order."""
    where, codes = Where(read.group[positives]), np.unique(read.group[positives])
    names = read.words.groups.at(codes)
    kept = list[int]()
    for _, code in sorted(zip(names, codes.tolist(), strict=True)):
        places = positives[where.of(code)].tolist()
        kept += drawn.sample(places, limit) if len(places) > limit else places
    return np.sort(np.array(kept, np.int64))


def _negatives(read: Pairs, texts: Texts, *, drawn: random.Random) -> dict[int, str]:
    """For the places of positives a text that is labelled 0 with its anchor, else in its group."""
    columns = [column.tolist() for column in (read.group, read.doi_a, read.doi_b, read.label)]
    by_anchor: dict[tuple[int, str], list[str]] = defaultdict(list)
    by_group: dict[int, list[str]] = defaultdict(list)
    related: dict[str, set[str]] = defaultdict(set)
    for group, code_a, code_b, label in zip(*columns, strict=True):
        a, b = str(texts[code_a]), str(texts[code_b])
        if label:
            related[a] |= {a, b}
            related[b] |= {a, b}
        else:
            by_anchor[group, a].append(b)
            by_group[group].append(b)
    found: dict[int, str] = {}
    for place, (group, code_a, _, label) in enumerate(zip(*columns, strict=True)):
        if label:
            a = str(texts[code_a])
            known = by_anchor.get((group, a)) or by_group.get(group, [])
            free = [text for text in known if text not in related[a]]
            if free:
                found[place] = drawn.choice(free)
    return found
