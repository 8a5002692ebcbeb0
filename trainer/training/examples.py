"""Labelled pairs and their documents as the columns that a loss reads."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.document import Document
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.training.development import set_apart
from trainer.training.recipe import Recipe

Columns = dict[str, list[Any]]


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


class _Texts(NamedTuple):
    pair: LabelledPair
    a: str
    b: str


def build(
    pairs: Sequence[LabelledPair], documents: Mapping[str, Document], *, recipe: Recipe
) -> Examples:
    """The tables that `recipe`'s loss trains on.

    For cosine and cosent `sentence_0`, `sentence_1`, `label`; for the ranking losses `anchor`,
    `positive` and, in a table of its own, `negative` where there is a labelled one. Which negative
    an anchor with several gets is drawn by the recipe's seed. The development split is made like
    them.
    """
    parts = set_apart(pairs, share=recipe.development_share)
    made = _build(parts.trained, documents, recipe=recipe)
    apart = _build(parts.development, documents, recipe=recipe)
    return made._replace(
        unread=made.unread + apart.unread,
        development={
            name: columns for name, columns in apart.tables.items() if any(columns.values())
        },
        developed=apart.trained,
        overlapping=parts.dropped,
    )


def _build(
    pairs: Sequence[LabelledPair], documents: Mapping[str, Document], *, recipe: Recipe
) -> Examples:
    read = list(_read(pairs, documents, recipe.templates))
    positives = [texts for texts in read if texts.pair.label]
    unread = len(pairs) - len(read)
    if not recipe.ranks:
        table: Columns = {
            "sentence_0": [texts.a for texts in read],
            "sentence_1": [texts.b for texts in read],
            "label": [float(texts.pair.label) for texts in read],
        }
        return Examples({"pairs": table}, len(read), len(positives), unread)
    drawn = random.Random(recipe.arguments.seed)  # noqa: S311 - a draw, no secret
    if recipe.group_positives:
        positives = _cap(positives, recipe.group_positives, drawn=drawn)
    negatives = _negatives(read, drawn) if "labelled" in recipe.negatives else {}
    rows = [(t.a, t.b, negatives.get(t.pair)) for t in positives]
    return Examples(_tables(rows), len(positives), len(positives), unread)


def _read(
    pairs: Sequence[LabelledPair], documents: Mapping[str, Document], templates: Sequence[str]
) -> list[_Texts]:
    texts: dict[str, str | None] = {}
    for doi in dict.fromkeys(doi for pair in pairs for doi in (pair.doi_a, pair.doi_b)):
        texts[doi] = render(documents.get(doi) or Document(doi=doi), templates)
    sides = ((pair, texts[pair.doi_a], texts[pair.doi_b]) for pair in pairs)
    return [_Texts(pair, a, b) for pair, a, b in sides if a is not None and b is not None]


def _cap(positives: Sequence[_Texts], limit: int, *, drawn: random.Random) -> list[_Texts]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row, texts in enumerate(positives):
        groups[texts.pair.group].append(row)
    kept = (
        drawn.sample(rows, limit) if len(rows) > limit else rows
        for _, rows in sorted(groups.items())
    )
    return [positives[row] for row in sorted(row for rows in kept for row in rows)]


def _negatives(read: Sequence[_Texts], drawn: random.Random) -> dict[LabelledPair, str]:
    """For each positive a text that is labelled 0 with its anchor, else in its group."""
    by_anchor: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_group: dict[str, list[str]] = defaultdict(list)
    for texts in read:
        if not texts.pair.label:
            by_anchor[texts.pair.group, texts.a].append(texts.b)
            by_group[texts.pair.group].append(texts.b)
    found: dict[LabelledPair, str] = {}
    related = _related(read)
    for texts in read:
        if texts.pair.label:
            known = by_anchor.get((texts.pair.group, texts.a)) or by_group.get(texts.pair.group, [])
            free = [text for text in known if text not in related[texts.a]]
            if free:
                found[texts.pair] = drawn.choice(free)
    return found


def _related(read: Sequence[_Texts]) -> dict[str, set[str]]:
    related: dict[str, set[str]] = defaultdict(set)
    for texts in read:
        if texts.pair.label:
            related[texts.a] |= {texts.a, texts.b}
            related[texts.b] |= {texts.a, texts.b}
    return related


def _tables(rows: Sequence[tuple[str, str, str | None]]) -> dict[str, Columns]:
    triplets = [row for row in rows if row[2] is not None]
    others = [row for row in rows if row[2] is None]
    tables: dict[str, Columns] = {}
    if triplets:
        tables["triplets"] = dict(
            zip(
                ("anchor", "positive", "negative"),
                map(list, zip(*triplets, strict=True)),
                strict=True,
            )
        )
    if others:
        tables["pairs"] = {
            "anchor": [a for a, _, _ in others],
            "positive": [b for _, b, _ in others],
        }
    return tables
