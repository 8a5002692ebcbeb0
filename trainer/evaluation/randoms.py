"""Easy negatives: held-out documents drawn at random, beside the questions of the positives."""

from collections import defaultdict

import numpy as np

from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.evaluation.retrieval import searched

RANDOM = "random"
SEED = 20_261_126
TRIES = 20


def drawn(held_out: HeldOutSet) -> list[LabelledPair]:
    """A negative for each of the positives in `positives`: its `doi_a` beside another document.

    The document is drawn from the searched ones that stand in held-out pairs, by a fixed seed; it
    stands in no group with `doi_a`, and isn't known to belong with it. None where twenty draws
    find no such one. The order of the pairs decides nothing.
    """
    among = [document.doi for document in searched(held_out) if document.doi in held_out.documents]
    related = _related(held_out)
    generator = np.random.default_rng(SEED)
    found = []
    for pair in sorted(positives(held_out), key=lambda pair: (pair.group, pair.key, pair.doi_a)):
        draws = (among[place] for place in generator.integers(len(among), size=TRIES))
        other = next((doi for doi in draws if doi not in related[pair.doi_a]), None)
        if other is not None:
            found.append(LabelledPair(pair.doi_a, other, 0, RANDOM, pair.group))
    return found


def positives(held_out: HeldOutSet) -> list[LabelledPair]:
    """The pairs with label 1 that count in `all`, of documents that are searched."""
    among = {document.doi for document in searched(held_out)}
    apart = frozenset(held_out.apart)
    return [
        pair
        for pair in held_out.pairs
        if pair.label and pair.family not in apart and {pair.doi_a, pair.doi_b} <= among
    ]


def _related(held_out: HeldOutSet) -> dict[str, set[str]]:
    """Of each DOI those that may belong with it: of its groups, of known pairs, itself."""
    groups: dict[str, set[str]] = defaultdict(set)
    for pair in held_out.pairs:
        groups[pair.group].update((pair.doi_a, pair.doi_b))
    found: dict[str, set[str]] = defaultdict(set)
    for pair in held_out.pairs:
        for doi in (pair.doi_a, pair.doi_b):
            found[doi] |= groups[pair.group]
    for a, b in held_out.related:
        found[a].add(b)
        found[b].add(a)
    return found
