"""What the store of pairs holds: counts, balance, groups, tokens."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from schemas.document import Document
from schemas.model import render
from trainer.data import split
from trainer.data.metadata import MetadataStore
from trainer.data.pairs import Balance, PairStore, Shard, balance
from trainer.errors import TrainingError
from worker.model import checkpoint
from worker.model.checkpoint import Checkpoint
from worker.model.origin import BASE, resolve_source

TEXTS_AT_ONCE = 4096


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
    dois = split.dois(dataset.pairs)
    groups = Counter(pair.group for pair in dataset.pairs)
    titled, tokens = _read(dois, metadata, templates) if dataset.pairs else (0, {})
    sides = {"sentence_0": "doi_a", "sentence_1": "doi_b"} if dataset.pairs else {}
    return Stats(
        dataset.version,
        tuple(store.shards()),
        balance(dataset.pairs),
        dict(sorted(Counter(f"{p.source}={p.label}" for p in dataset.pairs).items())),
        len(groups),
        max(groups.values(), default=0),
        len(dois),
        titled,
        {
            name: _summary(tokens, map(attrgetter(side), dataset.pairs))
            for name, side in sides.items()
        },
    )


def _read(
    dois: set[str], metadata: MetadataStore, templates: Sequence[str]
) -> tuple[int, dict[str, int]]:
    """How many of the DOIs have a title; and the tokens of each text that can be rendered."""
    base = checkpoint.read(resolve_source(BASE))
    if not isinstance(base, Checkpoint):
        raise TrainingError(f"the base model can't be read: {base}")
    titled, tokens = 0, dict.fromkeys(dois, 0)
    rest = _documents(dois, metadata)
    while documents := list(islice(rest, TEXTS_AT_ONCE)):
        titled += sum(document.title is not None for document in documents)
        read = [(d.doi, text) for d in documents if (text := render(d, templates)) is not None]
        # What a tokenizer says of a text is a hundred times the text: not of all at once.
        encodings = base.tokenizer.encode_batch_fast([text for _, text in read])
        tokens.update((doi, len(e.ids)) for (doi, _), e in zip(read, encodings, strict=True))
    return titled, tokens


def _documents(dois: set[str], metadata: MetadataStore) -> Iterator[Document]:
    known = set[str]()
    for document in metadata.each(dois):
        known.add(document.doi)
        yield document
    yield from (Document(doi=doi) for doi in dois - known)


def _summary(tokens: Mapping[str, int], side: Iterable[str]) -> Lengths:
    least, total, most, read, unread = sys.maxsize, 0, 0, 0, 0
    for length in map(tokens.__getitem__, side):
        if length:
            least, most = min(least, length), max(most, length)
            total, read = total + length, read + 1
        else:
            unread += 1
    return Lengths(least if read else 0, total / read if read else 0.0, most, unread)
