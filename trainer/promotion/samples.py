"""A sample of the vectors in a collection, computed again by its model."""

from itertools import islice

import numpy as np

from schemas.model import render
from trainer.promotion.difference import document_of
from worker.errors import ModelError
from worker.model.embedder import LOWEST_CANARY_COSINE
from worker.model.loaded import Target
from worker.store.protocol import VectorStore

SAMPLES = 32
TRIES = 3


def check_samples(store: VectorStore, target: Target) -> None:
    """Compute the vectors of a few stored records again.

    Raises `ModelError` where one is not what the collection's model says, within the cosine that
    canaries must keep. A record may change between the reading of its text and of its vector:
    one mismatch proves nothing, the third does.
    """
    for _ in range(TRIES):
        lowest = _lowest_cosine(store, target)
        if lowest >= LOWEST_CANARY_COSINE:
            return
    raise ModelError(f"a vector in {target.collection} is not its model's: cosine {lowest:.6f}")


def _lowest_cosine(store: VectorStore, target: Target) -> float:
    ids = list(islice(store.ids(target.collection), SAMPLES))
    payloads = store.payloads(target.collection, ids)
    stored = store.vectors(target.collection, ids)
    texts = {
        i: render(document_of(payload), target.templates)
        for i, payload in payloads.items()
        if i in stored
    }
    read = {i: text for i, text in texts.items() if text is not None}
    if not read:
        return 1.0
    vectors = target.encoder.encode(list(read.values()))
    return float(np.einsum("nd,nd->n", vectors, np.stack([stored[i] for i in read])).min())
