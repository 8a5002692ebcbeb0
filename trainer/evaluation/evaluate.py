"""A model and a held-out set: its scores, its report, and the differences of two models."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from schemas.document import Document
from schemas.evaluation import Difference, EvalReport, Slice
from schemas.model import render
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError
from trainer.evaluation import metrics
from trainer.evaluation.metrics import Floats
from trainer.evaluation.parts import Part, parts, whole
from trainer.evaluation.retrieval import hash_order, queries, search, searched
from trainer.evaluation.scores import QUERY_METRICS, Scores

TEXTS_AT_ONCE = 4096
PAIRS_AT_ONCE = 8192
BOTH_LABELS = 2
Progress = Callable[[int, int], None]


class Encoder(Protocol):
    """What is evaluated: the worker's `Embedder`, or a baseline."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Rows of unit length [n, d], float32: a dense array, or SciPy's CSR."""


class _Texts(NamedTuple):
    """What the templates render: rows of DOIs in the order of hashes, texts, templates."""

    rows: dict[str, int]
    texts: list[str]
    templates: NDArray[np.int8]


def score(
    encoder: Encoder,
    held_out: HeldOutSet,
    *,
    templates: Sequence[str],
    on_progress: Progress | None = None,
) -> Scores:
    """What an encoder makes of the held-out set: the pairs' cosines, the queries' figures.

    A document is read by the first of the `templates` whose fields it has; one without a text is
    in no pair and never found. `on_progress` hears (done, total) in texts and queries. Raises
    what the encoder raises.
    """
    read = _read(chain(held_out.documents.values(), held_out.corpus), templates)
    asked = queries(held_out)
    step = _steps(len(read.texts) + len(asked), on_progress)
    vectors = _encode(encoder, read.texts, step)
    corpus = [document.doi for document in searched(held_out) if document.doi in read.rows]
    found = search(
        vectors[[read.rows[doi] for doi in corpus]] if corpus else vectors,
        asked,
        rows={doi: row for row, doi in enumerate(corpus)},
        on_query=step,
    )
    ndcg, recall, mrr = np.array(found, np.float32).reshape(-1, 3).T
    cosine = _cosines(vectors, held_out, read.rows)
    return Scores(
        held_out=held_out.id,
        templates=tuple(templates),
        cosine=cosine,
        template=_templates(read, [pair.doi_a for pair in held_out.pairs]),
        ndcg=ndcg,
        recall=recall,
        mrr=mrr,
        query_template=_templates(read, [query.doi for query in asked]),
    )


def report(
    scores: Scores, held_out: HeldOutSet, *, subject: str, name: str, seen: int = 0
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
        corpus=len(searched(held_out)),
        slices=tuple(part for part in found if part.pairs or part.queries),
    )


def differences(champion: Scores, challenger: Scores, held_out: HeldOutSet) -> list[Difference]:
    """Each metric of each slice: the challenger's minus the champion's, with paired intervals.

    Only pairs and queries that both read are compared, on the same draws; `read` on `all` is
    the share of pairs that were read, over all of them. Slices by template are those of the
    challenger. Raises `EvaluationError` where the two are not of this held-out set.
    """
    for scores in (champion, challenger):
        check(scores, held_out)
    both = ~np.isnan(champion.cosine) & ~np.isnan(challenger.cosine)
    asked = ~np.isnan(champion.ndcg) & ~np.isnan(challenger.ndcg)
    slices = parts(held_out, challenger)
    found = list(_coverage(champion, challenger, slices[0]))
    for part in slices:
        found += _differences(champion, challenger, part.only(both, asked))
    return found


def check(scores: Scores, held_out: HeldOutSet) -> None:
    """Raise `EvaluationError` where the scores are not of this set's pairs and queries."""
    of_pairs = {len(scores.cosine), len(scores.template)}
    of_queries = {len(scores.query_template), *map(len, scores.of_queries.values())}
    sizes = ({len(held_out.pairs)}, {len(queries(held_out))})
    if scores.held_out != held_out.id or (of_pairs, of_queries) != sizes:
        raise EvaluationError(
            f"the scores are of the held-out set {scores.held_out[:12]}, not of {held_out.id[:12]}"
        )


def judged(held_out: HeldOutSet, *templates: Sequence[str]) -> dict[str, int]:
    """Over how many groups each metric on `all` can be measured, for models that read by these.

    Only what all of them read counts, as in `differences`; a metric that can't be is left out.
    """
    documents = [*held_out.documents.values(), *held_out.corpus]
    read = [_read(iter(documents), one).rows for one in templates]
    asked = queries(held_out)
    pairs = [all(p.doi_a in rows and p.doi_b in rows for rows in read) for p in held_out.pairs]
    answered = [all(query.doi in rows for rows in read) for query in asked]
    part = whole(held_out, asked).only(np.array(pairs, bool), np.array(answered, bool))
    found: dict[str, int] = {}
    if len(np.unique(part.labels)) == BOTH_LABELS:
        found |= dict.fromkeys(part.pair_metrics, part.groups)
    if len(part.queries):
        found |= dict.fromkeys(QUERY_METRICS, int(part.query_groups.max()) + 1)
    return found


def _read(documents: Iterator[Document], templates: Sequence[str]) -> _Texts:
    texts, places = {}, {}
    for document in documents:
        for place, template in enumerate(templates):
            text = render(document, (template,))
            if text is not None:
                texts[document.doi], places[document.doi] = text, place
                break
    order = sorted(texts, key=hash_order)
    return _Texts(
        {doi: row for row, doi in enumerate(order)},
        [texts[doi] for doi in order],
        np.array([places[doi] for doi in order], np.int8),
    )


def _templates(read: _Texts, dois: Sequence[str]) -> NDArray[np.int8]:
    """The template that reads each DOI, or -1."""
    return np.array([read.templates[read.rows[d]] if d in read.rows else -1 for d in dois], np.int8)


def _steps(total: int, on_progress: Progress | None) -> Callable[[int], None]:
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    return step


def _encode(encoder: Encoder, texts: Sequence[str], step: Callable[[int], None]) -> Any:
    chunks = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chunk = texts[start : start + TEXTS_AT_ONCE]
        chunks.append(encoder.encode(chunk))
        step(len(chunk))
    if not chunks:
        return np.empty((0, 0), np.float32)
    return sparse.vstack(chunks, format="csr") if sparse.issparse(chunks[0]) else np.vstack(chunks)


def _cosines(vectors: Any, held_out: HeldOutSet, rows: dict[str, int]) -> NDArray[np.float32]:
    """The cosine of each pair, float32 [pairs]; NaN where a side was not read."""
    sides = [(rows.get(pair.doi_a, -1), rows.get(pair.doi_b, -1)) for pair in held_out.pairs]
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
    part = part.only(~np.isnan(scores.cosine), ~np.isnan(scores.ndcg))
    estimates = {name: metrics.estimate(v) for name, v, _ in _of_pairs(scores, part)}
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


def _of_pairs(scores: Scores, part: Part) -> Iterator[tuple[str, Floats, int]]:
    """Each pair metric of the part: its name, value and draws [1 + draws], number of groups."""
    if len(np.unique(part.labels)) == BOTH_LABELS:
        chosen = {name: metrics.PAIR_METRICS[name] for name in part.pair_metrics}
        for name, values in part.resample(chosen, scores.cosine).items():
            yield name, values, part.groups


def _differences(champion: Scores, challenger: Scores, part: Part) -> Iterator[Difference]:
    both = zip(_of_pairs(champion, part), _of_pairs(challenger, part), strict=True)
    for (name, old, groups), (_, new, _) in both:
        found = _difference(name, part.name, old=old, new=new, groups=groups)
        if found is not None:
            yield found
    for name, was in champion.of_queries.items() if len(part.queries) else ():
        before = was[part.queries]
        after = challenger.of_queries[name][part.queries]
        level = metrics.mean_of_groups(before, groups=part.query_groups).value
        change = metrics.mean_of_groups(after - before, groups=part.query_groups)
        yield Difference(
            metric=name,
            part=part.name,
            champion=level,
            challenger=level + change.value,
            difference=change,
            groups=int(part.query_groups.max()) + 1,
        )


def _coverage(champion: Scores, challenger: Scores, part: Part) -> Iterator[Difference]:
    if not len(part.pairs):
        return
    old, new = (
        part.resample({"read": metrics.mean}, ~np.isnan(scores.cosine))["read"]
        for scores in (champion, challenger)
    )
    found = _difference("read", part.name, old=old, new=new, groups=part.groups)
    if found is not None:
        yield found


def _difference(
    name: str, part: str, *, old: Floats, new: Floats, groups: int
) -> Difference | None:
    found = metrics.estimate(new - old)
    if found is None:
        return None
    return Difference(
        metric=name,
        part=part,
        champion=float(old[0]),
        challenger=float(new[0]),
        difference=found,
        groups=groups,
    )
