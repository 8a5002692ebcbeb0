"""What the store of pairs holds: counts, balance, groups, tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.document import Document
from schemas.model import render
from trainer.data import split
from trainer.data.metadata import MetadataStore
from trainer.data.pairs import Balance, PairStore, Shard, balance
from trainer.data.table import Pairs
from trainer.errors import TrainingError
from worker.model import checkpoint
from worker.model.checkpoint import Checkpoint
from worker.model.origin import BASE, resolve_source

TEXTS_AT_ONCE = 4096
NONE = np.empty(0, np.int32)


class Lengths(NamedTuple):
    """Tokens of a side's texts, the two special ones included; `unread` sides have no text."""

    least: int
    mean: float
    most: int
    unread: int


class Stats(NamedTuple):
    """The store's pairs as one dataset; `lengths` by column, as in the original's model card."""

    dataset: str
    shards: tuple[Shard, ...]
    balance: Balance
    sources: dict[str, int]
    groups: int
    largest_group: int
    dois: int
    titled: int
    lengths: dict[str, Lengths]


def of(store: PairStore, metadata: MetadataStore, templates: Sequence[str]) -> Stats:
    """Count what is stored, and the base model's tokens of the texts that `templates` render."""
    dataset = store.dataset()
    rows = Pairs.of(dataset.pairs)
    groups = rows.group_counts()
    titled, tokens = _read(rows, metadata, templates) if len(rows) else (0, NONE)
    sides = {"sentence_0": rows.doi_a, "sentence_1": rows.doi_b} if len(rows) else {}
    return Stats(
        dataset.version,
        tuple(store.shards()),
        balance(rows),
        _sources(rows),
        int(np.count_nonzero(groups)),
        int(groups.max(initial=0)),
        int(np.count_nonzero(rows.used())),
        titled,
        {name: _summary(tokens[side]) for name, side in sides.items()},
    )


def _sources(rows: Pairs) -> dict[str, int]:
    """How many pairs each source labelled so: by `source=label`."""
    kinds = np.bincount(2 * rows.source + rows.label).tolist()
    names = list(rows.words.sources)
    counts = ((f"{names[kind // 2]}={kind % 2}", count) for kind, count in enumerate(kinds))
    return dict(sorted((name, count) for name, count in counts if count))


def _read(
    rows: Pairs, metadata: MetadataStore, templates: Sequence[str]
) -> tuple[int, NDArray[np.int32]]:
    """How many of the DOIs have a title; and of each word the tokens of its text, 0 without one."""
    base = checkpoint.read(resolve_source(BASE))
    if not isinstance(base, Checkpoint):
        raise TrainingError(f"the base model can't be read: {base}")
    used = np.flatnonzero(rows.used())
    titled, tokens = 0, np.zeros(len(rows.words.dois), np.int32)
    known = metadata.documents(split.dois(rows))
    # What a tokenizer says of a text is a hundred times the text: not of all at once.
    for start in range(0, len(used), TEXTS_AT_ONCE):
        places = used[start : start + TEXTS_AT_ONCE]
        dois = rows.words.dois.at(places)
        documents = [known.get(doi) or Document(doi=doi) for doi in dois]
        titled += sum(document.title is not None for document in documents)
        read = [render(document, templates) for document in documents]
        has_text = np.array([text is not None for text in read])
        encodings = base.tokenizer.encode_batch_fast([text for text in read if text is not None])
        tokens[places[has_text]] = [len(encoding.ids) for encoding in encodings]
    return titled, tokens


def _summary(tokens: NDArray[np.int32]) -> Lengths:
    read = tokens[tokens > 0]
    if not len(read):
        return Lengths(0, 0.0, 0, len(tokens))
    return Lengths(int(read.min()), float(read.mean()), int(read.max()), len(tokens) - len(read))
