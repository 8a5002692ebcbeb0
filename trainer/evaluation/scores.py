"""What a subject gives to each pair and each query of a held-out set; kept as a file."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from worker.files import sync

# What NumPy and zipfile raise at a file that is empty, cut off or overwritten.
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
QUERY_METRICS = ("ndcg@10", "recall@10", "mrr")


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a subject that reads by `templates`, on the set `held_out` (its id).

    `cosine` float32 [pairs] is NaN where a side has no text, and so is `random` [drawn], of the
    negatives that are drawn for the set; `template` int8 [pairs] is the place
    of the template that reads `doi_a`, or -1. `ndcg`, `recall` and `mrr`, float32 [queries], are
    at 10, at 10, and over the full ranking, NaN where the query has no text; `query_template`
    int8 [queries]. `corpus` tells which documents were searched (see `corpus_id`), `searched` how
    many were searched.
    """

    held_out: str
    templates: tuple[str, ...]
    corpus: str
    searched: int
    cosine: NDArray[np.float32]
    template: NDArray[np.int8]
    ndcg: NDArray[np.float32]
    recall: NDArray[np.float32]
    mrr: NDArray[np.float32]
    query_template: NDArray[np.int8]
    random: NDArray[np.float32]

    @property
    def similarity(self) -> NDArray[np.float32]:
        """The cosine of each pair, then of each drawn negative: [pairs + drawn]."""
        return np.concatenate([self.cosine, self.random])

    @property
    def of_queries(self) -> dict[str, NDArray[np.float32]]:
        """The figures of each query, by the name of the metric."""
        return dict(zip(QUERY_METRICS, (self.ndcg, self.recall, self.mrr), strict=True))

    def save(self, path: Path) -> None:
        """Write them as .npz without pickle, under another name first."""
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with aside.open("wb") as file:
                np.savez_compressed(file, **{f.name: getattr(self, f.name) for f in fields(self)})
            sync(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "Scores":
        """Read what `save` wrote; raises `EvaluationError` where that is not what is there."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                values = {field.name: found[field.name] for field in fields(cls)}
        except UNREADABLE as error:
            raise EvaluationError(f"the scores in {path.name} can't be read: {error}") from error
        return cls(
            held_out=str(values.pop("held_out")),
            templates=tuple(values.pop("templates").tolist()),
            corpus=str(values.pop("corpus")),
            searched=int(values.pop("searched")),
            **values,
        )


def corpus_id(dois: Iterable[str], *, alone: bool) -> str:
    """A digest (hexadecimal) of the documents that are searched, and of the rule for the others.

    A model `alone` is charged with answers that it can't read; beside another one, what either
    can't read is no answer.
    """
    found = sha256(b"alone" if alone else b"both")
    for doi in sorted(dois):
        found.update(doi.encode() + b"\0")
    return found.hexdigest()
