"""What the store of pairs holds: counts, balance, groups, tokens."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from schemas.document import Document
from schemas.model import render
from trainer.data import split
from trainer.data.metadata import MetadataStore
from trainer.data.pairs import Balance, Dataset, PairStore, Shard, balance
from trainer.errors import TrainingError
from worker.model import checkpoint
from worker.model.checkpoint import Checkpoint
from worker.model.origin import BASE, resolve_source


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
    documents = metadata.documents(dois)
    groups = Counter(pair.group for pair in dataset.pairs)
    return Stats(
        dataset.version,
        tuple(store.shards()),
        balance(dataset.pairs),
        dict(sorted(Counter(f"{p.source}={p.label}" for p in dataset.pairs).items())),
        len(groups),
        max(groups.values(), default=0),
        len(dois),
        sum(document.title is not None for document in documents.values()),
        _lengths(dataset, documents, templates) if dataset.pairs else {},
    )


def _lengths(
    dataset: Dataset, documents: dict[str, Document], templates: Sequence[str]
) -> dict[str, Lengths]:
    base = checkpoint.read(resolve_source(BASE))
    if not isinstance(base, Checkpoint):
        raise TrainingError(f"the base model can't be read: {base}")
    dois = sorted(split.dois(dataset.pairs))
    texts = {d: render(documents.get(d) or Document(doi=d), templates) for d in dois}
    read = {doi: text for doi, text in texts.items() if text is not None}
    encodings = base.tokenizer.encode_batch_fast(list(read.values()))
    tokens = {doi: len(encoding.ids) for doi, encoding in zip(read, encodings, strict=True)}
    return {
        "sentence_0": _summary([tokens.get(pair.doi_a) for pair in dataset.pairs]),
        "sentence_1": _summary([tokens.get(pair.doi_b) for pair in dataset.pairs]),
    }


def _summary(lengths: Sequence[int | None]) -> Lengths:
    found = [length for length in lengths if length is not None]
    mean = sum(found) / len(found) if found else 0.0
    return Lengths(min(found, default=0), mean, max(found, default=0), len(lengths) - len(found))
