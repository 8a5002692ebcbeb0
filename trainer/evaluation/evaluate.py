"""A model and a held-out set: its scores, and its report."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from schemas.evaluation import EvalReport, Slice
from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError
from trainer.evaluation import metrics
from trainer.evaluation.metrics import Floats
from trainer.evaluation.parts import Part, parts
from trainer.evaluation.randoms import drawn
from trainer.evaluation.reading import read, readable
from trainer.evaluation.retrieval import queries, search, searched
from trainer.evaluation.scores import Scores, corpus_id

TEXTS_AT_ONCE = 4096
PAIRS_AT_ONCE = 8192
BOTH_LABELS = 2
Progress = Callable[[int, int], None]


class Encoder(Protocol):
    """What is evaluated: the worker's `Embedder`, or a baseline."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Rows of unit length [n, d], float32: a dense array, or SciPy's CSR."""


def score(
    encoder: Encoder,
    held_out: HeldOutSet,
    *,
    templates: Sequence[str],
    beside: Sequence[str] | None = None,
    on_progress: Progress | None = None,
) -> Scores:
    """What an encoder makes of the held-out set: the pairs' cosines, the queries' figures.

    A document is read by the first of the `templates` whose fields it has; one without a text is
    in no pair and never found. `beside` are the templates of another model: what these can't read
    takes no part either, and what one of the two can't read is no answer; so both search the same
    documents for the same answers. `on_progress` hears (done, total) in texts and queries. Raises
    `EvaluationError` where a vector isn't finite, and what the encoder raises.
    """
    among = None if beside is None else readable(held_out, beside)
    texts = read(held_out, templates, among=among)
    asked = queries(held_out)
    if among is not None:
        asked = [query.of(texts.rows) for query in asked]
    step = _steps(len(texts.texts) + len(asked), on_progress)
    vectors = _encode(encoder, texts.texts, step)
    corpus = [document.doi for document in searched(held_out) if document.doi in texts.rows]
    found = search(
        vectors[[texts.rows[doi] for doi in corpus]] if corpus else vectors,
        asked,
        rows={doi: row for row, doi in enumerate(corpus)},
        on_query=step,
    )
    ndcg, recall, mrr = np.array(found, np.float32).reshape(-1, 3).T
    return Scores(
        held_out=held_out.id,
        templates=tuple(templates),
        corpus=corpus_id(corpus, alone=beside is None),
        searched=len(corpus),
        cosine=_cosines(vectors, held_out.pairs, texts.rows),
        template=texts.places_of([pair.doi_a for pair in held_out.pairs]),
        ndcg=ndcg,
        recall=recall,
        mrr=mrr,
        query_template=texts.places_of([query.doi for query in asked]),
        random=_cosines(vectors, drawn(held_out), texts.rows),
    )


def report(
    scores: Scores, held_out: HeldOutSet, *, subject: str, name: str, seen: int | None = 0
) -> EvalReport:
    """The figures of a subject with their intervals, over all and slice by slice.

    Pair metrics weigh each pair that was read alike; search metrics are means over groups of
    the group's mean, for a review with 20 queries is one piece of evidence. The slice `all`
    leaves out the families in `held_out.apart`. `seen` counts the held-out pairs of which the
    subject's training knew a DOI or the group. Raises `EvaluationError` where the scores are of
    another held-out set.
    """
    check(scores, held_out)
    found = (_slice(scores, part) for part in parts(held_out, scores))
    return EvalReport(
        subject=subject,
        name=name,
        held_out=held_out.id,
        pairs=len(held_out.pairs),
        unread=int(np.isnan(scores.cosine).sum()),
        seen=seen,
        corpus=(documents := len(searched(held_out))),
        unsearched=documents - scores.searched,
        slices=tuple(part for part in found if part.pairs or part.queries),
    )


def check(scores: Scores, held_out: HeldOutSet) -> None:
    """Raise `EvaluationError` where the scores are not of this set's pairs and queries."""
    of_pairs = {len(scores.cosine), len(scores.template)}
    of_queries = {len(scores.query_template), *map(len, scores.of_queries.values())}
    sizes = ({len(held_out.pairs)}, {len(queries(held_out))}, len(drawn(held_out)))
    found = (of_pairs, of_queries, len(scores.random))
    if scores.held_out != held_out.id or found != sizes:
        raise EvaluationError(
            f"the scores are of the held-out set {scores.held_out[:12]}, not of {held_out.id[:12]}"
        )


def _steps(total: int, on_progress: Progress | None) -> Callable[[int], None]:
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    return step


def encode(encoder: Encoder, texts: Sequence[str], *, on_progress: Progress | None = None) -> Any:
    """The vectors of texts, dense or CSR; `on_progress` hears of texts. Raises as `score` does."""
    return _encode(encoder, texts, _steps(len(texts), on_progress))


def _encode(encoder: Encoder, texts: Sequence[str], step: Callable[[int], None]) -> Any:
    chunks = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = texts[start : start + TEXTS_AT_ONCE]
        vectors = encoder.encode(chunk)
        # Beside a cosine that is no number none counts: what is broken would go unnoticed.
        if not np.isfinite(vectors.data if sparse.issparse(vectors) else vectors).all():
            raise EvaluationError("the model gives vectors with numbers that are not finite")
        chunks.append(vectors)
        step(len(chunk))
    if not chunks:
        return np.empty((0, 0), np.float32)
    return sparse.vstack(chunks, format="csr") if sparse.issparse(chunks[0]) else np.vstack(chunks)


def _cosines(
    vectors: Any, pairs: Sequence[LabelledPair], rows: dict[str, int]
) -> NDArray[np.float32]:
    """The cosine of each pair, float32 [pairs]; NaN where a side was not read."""
    sides = [(rows.get(pair.doi_a, -1), rows.get(pair.doi_b, -1)) for pair in pairs]
    a, b = np.array(sides, np.int64).reshape(-1, 2).T
    read = np.flatnonzero((a >= 0) & (b >= 0))
    cosine = np.full(len(sides), np.nan, np.float32)
    for start in range(0, len(read), PAIRS_AT_ONCE):
        chunk = read[start : start + PAIRS_AT_ONCE]
        left, right = vectors[a[chunk]], vectors[b[chunk]]
        product = left.multiply(right) if sparse.issparse(left) else left * right
        cosine[chunk] = np.asarray(product.sum(axis=1)).ravel()
    return cosine


def _slice(scores: Scores, part: Part) -> Slice:
    part = part.only(~np.isnan(scores.similarity), ~np.isnan(scores.ndcg))
    estimates = {name: metrics.estimate(v) for name, v, _ in of_pairs(scores, part)}
    for name, values in scores.of_queries.items() if len(part.queries) else ():
        estimates[name] = metrics.mean_of_groups(values[part.queries], groups=part.query_groups)
    return Slice(
        name=part.name,
        pairs=len(part.pairs),
        positives=int(part.labels.sum()),
        groups=part.groups,
        queries=len(part.queries),
        metrics={name: found for name, found in estimates.items() if found is not None},
    )


def of_pairs(scores: Scores, part: Part) -> Iterator[tuple[str, Floats, int]]:
    """Each pair metric of the part: its name, value and draws [1 + draws], number of groups."""
    if len(np.unique(part.labels)) == BOTH_LABELS:
        chosen = {name: metrics.PAIR_METRICS[name] for name in part.pair_metrics}
        for name, values in part.resample(chosen, scores.similarity).items():
            yield name, values, part.groups
