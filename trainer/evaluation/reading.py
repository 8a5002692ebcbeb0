"""What templates make of a held-out set: which documents have a text, and which one."""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.evaluation.retrieval import hash_order


class Texts(NamedTuple):
    """What the templates render: rows of DOIs in the order of hashes, texts, templates' places."""

    rows: dict[str, int]
    texts: list[str]
    places: NDArray[np.int8]

    def places_of(self, dois: Sequence[str]) -> NDArray[np.int8]:
        """The place of the template that reads each DOI, or -1."""
        rows = (self.rows.get(doi) for doi in dois)
        return np.array([-1 if row is None else self.places[row] for row in rows], np.int8)


def read(
    held_out: HeldOutSet, templates: Sequence[str], *, among: Collection[str] | None = None
) -> Texts:
    """The texts of the set's documents, or of those `among` some, that the templates can read."""
    texts, places = {}, {}
    for document in _documents(held_out):
        if among is not None and document.doi not in among:
            continue
        for place, template in enumerate(templates):
            text = render(document, (template,))
            if text is not None:
                texts[document.doi], places[document.doi] = text, place
                break
    order = sorted(texts, key=hash_order)
    return Texts(
        {doi: row for row, doi in enumerate(order)},
        [texts[doi] for doi in order],
        np.array([places[doi] for doi in order], np.int8),
    )


def readable(held_out: HeldOutSet, templates: Sequence[str]) -> set[str]:
    """The DOIs of the set's documents that the templates can read."""
    return {d.doi for d in _documents(held_out) if render(d, templates) is not None}


def both_sides(pairs: Sequence[LabelledPair], known: Collection[str]) -> NDArray[np.bool_]:
    """Which pairs have both DOIs among those `known`: bool [pairs]."""
    return np.array([pair.doi_a in known and pair.doi_b in known for pair in pairs], bool)


def _documents(held_out: HeldOutSet) -> Iterator[Document]:
    return chain(held_out.documents.values(), held_out.corpus)
