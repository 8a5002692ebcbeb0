"""Queries of a person's own, with the DOIs that they should find: which can be judged, and how."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from schemas.document import Document
from schemas.doi import normalize
from schemas.evaluation import EvalReport, OwnQueries, Slice
from schemas.job import Rejection
from schemas.model import render, shorten
from trainer.data.held_out import HeldOutSet
from trainer.data.split import Footprint
from trainer.errors import EvaluationError
from trainer.evaluation import metrics
from trainer.evaluation.evaluate import Encoder, encode
from trainer.evaluation.metrics import Retrieval, retrieval
from trainer.evaluation.retrieval import QUERIES_AT_ONCE, UNREAD, ranks, searchable
from trainer.evaluation.scores import QUERY_METRICS
from worker.settings.ingest import LimitSettings
from worker.sources.columns import Vocabulary
from worker.sources.records import records

OWN = "own queries"
VOCABULARY = Vocabulary(
    {"doi": ("doi",), "text": ("text", "query"), "relevant": ("relevant", "relevant dois")},
    ("relevant",),
)


class OwnQuery(NamedTuple):
    """A canonical DOI or else a text, and the canonical DOIs that it should find."""

    doi: str
    text: str
    relevant: tuple[str, ...]


class Choice(NamedTuple):
    """The documents that are searched, and the queries with those of their answers among them."""

    file: str
    given: int
    wanted: int
    documents: list[Document]
    asked: list[OwnQuery]

    @property
    def found(self) -> int:
        """How many answers can be found, over all queries."""
        return sum(len(query.relevant) for query in self.asked)


def read(source: str, *, limits: LimitSettings) -> tuple[list[OwnQuery], list[Rejection]]:
    """The queries of a file, and the rows that are none.

    A row has a `doi` or a `text`, and `relevant` DOIs: a list, or a text with blanks between
    them. Rows that ask the same are one query. Raises `SourceError`.
    """
    found: dict[tuple[str, str], dict[str, None]] = {}
    rejected = []
    parse = partial(_query, limits=limits)
    for row in records(source, parse, vocabulary=VOCABULARY, limits=limits):
        if isinstance(row, Rejection):
            rejected.append(row)
        else:
            found.setdefault((row.doi, row.text), {}).update(dict.fromkeys(row.relevant))
    return [OwnQuery(*key, tuple(relevant)) for key, relevant in found.items()], rejected


def dois_of(queries: Sequence[OwnQuery]) -> set[str]:
    """All DOIs that stand in the queries."""
    return {doi for q in queries for doi in (q.doi, *q.relevant) if doi}


def choose(
    queries: Sequence[OwnQuery],
    held_out: HeldOutSet,
    known: Mapping[str, Document],
    *,
    source: str,
) -> Choice:
    """Which queries can be judged, by any model: their DOIs are searched beside the held-out set's.

    Where titles are known at all, only what has one is searched (see `retrieval.searched`); what
    isn't searched is no answer, and a query without an answer, or whose own DOI isn't searched,
    can't be judged. `known` has what is known of their DOIs. Raises `EvaluationError` where none
    is left.
    """
    named = (known.get(doi) or Document(doi=doi) for doi in sorted(dois_of(queries)))
    documents = searchable((*named, *held_out.corpus, *held_out.documents.values()))
    there = {document.doi for document in documents}
    asked = [q._replace(relevant=tuple(d for d in q.relevant if d in there)) for q in queries]
    asked = [q for q in asked if q.relevant and (not q.doi or q.doi in there)]
    name, wanted = PurePath(source).name, sum(len(query.relevant) for query in queries)
    if not asked:
        raise EvaluationError(
            f"none of the {len(queries):,} queries of {name} can be judged: no title is known of "
            "the DOIs that they should find; `doi-trainer metadata import FILE` brings them"
        )
    return Choice(name, len(queries), wanted, documents, asked)


def add(
    report: EvalReport,
    encoder: Encoder,
    choice: Choice,
    *,
    templates: Sequence[str],
    trained: Footprint,
    on_progress: Callable[[int, int], None] | None = None,
) -> EvalReport:
    """The report with the figures of a person's own queries, as the slice `own queries`.

    `trained` is what the model trained on. Raises as `evaluate.score` does.
    """
    found = _score(encoder, choice, templates=templates, on_progress=on_progress)
    values = np.array(found, np.float64).reshape(-1, len(QUERY_METRICS))
    is_judged = ~np.isnan(values[:, 0])
    values = values[is_judged]
    estimates = {
        name: metrics.mean_of_groups(column, groups=np.arange(len(column)))
        for name, column in zip(QUERY_METRICS, values.T, strict=True)
        if len(column)
    }
    queries = len(values)
    part = Slice(name=OWN, pairs=0, positives=0, groups=queries, queries=queries, metrics=estimates)
    met = trained.met(dois_of(choice.asked))
    seen = sum(not dois_of([q]).isdisjoint(met) for q in compress(choice.asked, is_judged))
    own = OwnQueries(
        file=choice.file,
        queries=choice.given,
        judged=queries,
        unknown=choice.given - len(choice.asked),
        unread=len(choice.asked) - queries,
        relevant=choice.wanted,
        relevant_unknown=choice.wanted - choice.found,
        searched=len(choice.documents),
        seen=None if report.seen is None else seen,
    )
    return report.model_copy(update={"slices": (*report.slices, part), "own": own})


def _query(row: Any, *, limits: LimitSettings) -> OwnQuery:
    if not isinstance(row, Mapping):
        raise ValueError("not a row with `doi` or `text`, and `relevant`")  # noqa: TRY004
    doi, text = (str(row.get(name) or "").strip() for name in ("doi", "text"))
    if bool(doi) == bool(text):
        raise ValueError("a `doi` or a `text` is expected, one of the two")
    given = row.get("relevant")
    listed = given if isinstance(given, list) else str(given or "").split()
    relevant = dict.fromkeys(normalize(str(one), max_bytes=limits.doi_bytes) for one in listed)
    own = normalize(doi, max_bytes=limits.doi_bytes) if doi else ""
    relevant.pop(own, None)
    if not relevant:
        raise ValueError("no `relevant` DOI that it should find")
    return OwnQuery(own, shorten(text), tuple(relevant))


def _score(
    encoder: Encoder,
    choice: Choice,
    *,
    templates: Sequence[str],
    on_progress: Callable[[int, int], None] | None,
) -> list[Retrieval]:
    """The figures of each query; NaN where the templates read nothing of its DOI."""
    texts = {d.doi: t for d in choice.documents if (t := render(d, templates)) is not None}
    rows = {doi: row for row, doi in enumerate(texts)}
    asked = [query.text for query in choice.asked if query.text]
    vectors = encode(encoder, [*texts.values(), *asked], on_progress=on_progress)
    places = iter(range(len(texts), len(texts) + len(asked)))
    own = [next(places) if query.text else rows.get(query.doi) for query in choice.asked]
    found = [UNREAD] * len(own)
    read = [place for place, row in enumerate(own) if row is not None]
    for place, similarities in _similarities(vectors, own, read, searched=len(texts)):
        query = choice.asked[place]
        if query.doi:
            similarities[rows[query.doi]] = -np.inf
        readable = np.array([rows[doi] for doi in query.relevant if doi in rows], np.int64)
        at = np.full(len(query.relevant), np.inf)
        at[: len(readable)] = ranks(similarities, readable)
        found[place] = retrieval(at)
    return found


def _similarities(
    vectors: Any, own: Sequence[int | None], read: Sequence[int], *, searched: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    columns = vectors[:searched].T
    columns = columns.tocsr() if sparse.issparse(columns) else columns
    for start in range(0, len(read), QUERIES_AT_ONCE):
        chunk = read[start : start + QUERIES_AT_ONCE]
        product = vectors[[own[place] for place in chunk]] @ columns
        dense = product.toarray() if sparse.issparse(product) else product
        yield from zip(chunk, dense, strict=True)
