"""Encoders without a model: what a trained one must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import HashingVectorizer

PREFIXES = 2**20
TRIGRAM_FEATURES = 2**18


class Prefix:
    """Same registrant prefix or not: similarity 1 or 0. Reads texts of the template `{doi}`."""

    templates = ("{doi}",)

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}

    def encode(self, texts: Sequence[str]) -> csr_array:
        """Rows of unit length, float32 CSR [n, 2**20], one column for each prefix seen so far."""
        prefixes = [text.partition("/")[0] for text in texts]
        columns = [self._columns.setdefault(p, len(self._columns)) for p in prefixes]
        ones = np.ones(len(texts), np.float32)
        return csr_array((ones, (np.arange(len(texts)), columns)), shape=(len(texts), PREFIXES))


class Trigrams:
    """The cosine of character trigram counts; reads any text, lower-cased.

    Trigrams are hashed into 2**18 columns. A text shorter than three characters is a zero row.
    """

    def __init__(self) -> None:
        self._vectorizer = HashingVectorizer(
            analyzer="char",
            ngram_range=(3, 3),
            n_features=TRIGRAM_FEATURES,
            alternate_sign=False,
            norm="l2",
            dtype=np.float32,
        )

    def encode(self, texts: Sequence[str]) -> Any:
        """Rows of unit length, float32 CSR [n, 2**18]."""
        return csr_array(self._vectorizer.transform(list(texts)))
