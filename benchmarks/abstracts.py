"""`{title}. {abstract}` beside `{title}`: what abstracts bring the base model, and what they cost.

`python -m benchmarks.abstracts` writes `benchmarks/results/abstracts.json`. It needs the shared
pairs and metadata, and is done in ten minutes of one core. Two searches are measured by the
trainer's own evaluation, with paired intervals from a bootstrap over groups: `alike`, where every
document has an abstract, and `mixed`, where most have a title alone, as in people's files.
"""

import csv
import json
import lzma
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.embedding import count_tokens, interval
from schemas.document import METADATA_FIELDS, Document
from schemas.evaluation import Difference
from schemas.model import render
from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.evaluation import comparison, evaluate
from trainer.evaluation.retrieval import hash_order, queries, searched
from worker.model.embedder import Embedder
from worker.model.loaded import Vectors

TITLES = ("{title}",)
ABSTRACTS = ("{title}. {abstract}", "{title}")
MIXED_GROUPS, OTHERS = 300, 10_000
ROUNDS, TIMED_TEXTS = 7, 64
METRICS = ("ndcg@10", "recall@10", "mrr", "roc_auc", "average_precision")


class Remembering:
    """An encoder that embeds each text once: the two ways of reading share most titles."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors float32 [n, dimension]."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        if new:
            self._known |= dict(zip(new, self._embedder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def main() -> None:
    """Measure, print and write the results."""
    embedder = Embedder.load("base")
    documents = {d.doi: d for d in read_documents() if d.title}
    pairs = [p for p in read_pairs() if p.doi_a in documents and p.doi_b in documents]
    encoder = Remembering(embedder)
    results = {
        "templates": {"titles": TITLES, "abstracts": ABSTRACTS},
        "cost": cost(embedder, documents),
        "alike": compare(encoder, alike(pairs, documents)),
        "mixed": compare(encoder, mixed(pairs, documents)),
    }
    machine.write_result("abstracts", results)


def read_documents() -> Iterator[Document]:
    """The shared metadata."""
    with lzma.open(machine.DATA / "metadata.jsonl.xz", "rt") as rows:
        for row in map(json.loads, rows):
            known = {name: row.get(name) for name in METADATA_FIELDS}
            yield Document(doi=row["doi"].lower(), **known)


def read_pairs() -> Iterator[LabelledPair]:
    """The shared pairs."""
    with lzma.open(machine.DATA / "pairs.csv.xz", "rt", newline="") as rows:
        for row in csv.DictReader(rows):
            label = int(row["label"])
            a, b = row["doi_a"].lower(), row["doi_b"].lower()
            source, group = row["source"], row["group"]
            yield LabelledPair(doi_a=a, doi_b=b, label=label, source=source, group=group)


def alike(pairs: Sequence[LabelledPair], documents: Mapping[str, Document]) -> HeldOutSet:
    """The pairs of which both have an abstract, among all documents that have one."""
    told = {doi for doi, document in documents.items() if document.abstract}
    chosen = [pair for pair in pairs if {pair.doi_a, pair.doi_b} <= told]
    return held_out(chosen, documents, others=sorted(told))


def mixed(pairs: Sequence[LabelledPair], documents: Mapping[str, Document]) -> HeldOutSet:
    """Pairs of groups of which one has an abstract, among those and documents with titles."""
    told = {doi for doi, document in documents.items() if document.abstract}
    one = [pair for pair in pairs if (pair.doi_a in told) != (pair.doi_b in told)]
    groups = set(sorted({pair.group for pair in one}, key=hash_order)[:MIXED_GROUPS])
    others = sorted(documents.keys() - told, key=hash_order)[:OTHERS]
    chosen = [pair for pair in one if pair.group in groups]
    return held_out(chosen, documents, others=[*others, *sorted(told)])


def held_out(
    pairs: Sequence[LabelledPair], documents: Mapping[str, Document], *, others: Sequence[str]
) -> HeldOutSet:
    """A set of these pairs, searched beside the `others`."""
    own = {doi: documents[doi] for pair in pairs for doi in (pair.doi_a, pair.doi_b)}
    return HeldOutSet(
        id="0" * 64,
        dataset="",
        groups=frozenset(pair.group for pair in pairs),
        apart=(),
        pairs=list(pairs),
        documents=own,
        corpus=[documents[doi] for doi in others if doi not in own],
    )


def compare(encoder: Remembering, found: HeldOutSet) -> dict[str, Any]:
    """Each metric of both ways of reading, and their difference with its interval."""
    ways = [evaluate.score(encoder, found, templates=t) for t in (TITLES, ABSTRACTS)]
    differences = comparison.differences(ways[0], ways[1], found)
    whole = {d.metric: d for d in differences if d.part == "all" and d.metric in METRICS}
    return {
        "pairs": len(found.pairs),
        "label_1": sum(pair.label for pair in found.pairs),
        "groups": len(found.groups),
        "queries": len(queries(found)),
        "searched": len(searched(found)),
        "with_abstract": sum(document.abstract is not None for document in searched(found)),
        "metrics": {name: figures(whole[name]) for name in METRICS},
    }


def figures(found: Difference) -> dict[str, Any]:
    """A difference to three digits."""
    change = found.difference
    return {
        "titles": round(found.champion, 3),
        "abstracts": round(found.challenger, 3),
        "difference": [round(n, 3) for n in (change.value, change.low, change.high)],
        "groups": found.groups,
    }


def cost(embedder: Embedder, documents: Mapping[str, Document]) -> dict[str, Any]:
    """Tokens that the model reads, and seconds in turns, of the same documents read both ways."""
    told = [d for d in documents.values() if d.abstract]
    texts = {
        name: [text for d in told if (text := render(d, templates)) is not None]
        for name, templates in (("titles", TITLES), ("abstracts", ABSTRACTS))
    }
    tokens = {name: float(np.mean(count_tokens(some))) for name, some in texts.items()}
    timed = {name: some[:: len(some) // TIMED_TEXTS] for name, some in texts.items()}
    rounds = [
        {name: seconds(embedder, some) for name, some in timed.items()} for _ in range(ROUNDS)
    ]
    return {
        "documents": len(told),
        "mean_tokens": {name: round(mean, 1) for name, mean in tokens.items()},
        "texts_timed": len(timed["titles"]),
        "rounds": ROUNDS,
        "times_the_tokens": round(tokens["abstracts"] / tokens["titles"], 1),
        "times_the_seconds": interval([r["abstracts"] / r["titles"] for r in rounds]),
    }


def seconds(embedder: Embedder, texts: Sequence[str]) -> float:
    """How long the texts take, once."""
    start = time.process_time()
    embedder.encode(texts)
    return time.process_time() - start


if __name__ == "__main__":
    main()
