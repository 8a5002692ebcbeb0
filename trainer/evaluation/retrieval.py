"""What a searcher feels: the queries of a held-out set, and at which rank their answers are."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from schemas.document import Document
from trainer.data.held_out import HeldOutSet
from trainer.evaluation.metrics import Retrieval, retrieval

GROUP_QUERIES = 20
QUERIES_AT_ONCE = 128
UNREAD = Retrieval(np.nan, np.nan, np.nan)


class Query(NamedTuple):
    """A document that cites or includes others: asked for, it should find the `relevant` ones.

    `families` are those of its positives in this group, `relevant` the held-out DOIs that are
    known to belong with it, either way round, in any group.
    """

    group: str
    doi: str
    families: frozenset[str]
    relevant: tuple[str, ...]

    def of(self, known: Container[str]) -> "Query":
        """The query for those of the relevant DOIs that are `known`."""
        return self._replace(relevant=tuple(doi for doi in self.relevant if doi in known))


def hash_order(doi: str) -> str:
    """The key that orders documents without regard to labels: the DOI's SHA-256."""
    return sha256(doi.encode()).hexdigest()


def searched(held_out: HeldOutSet) -> list[Document]:
    """The documents that are searched: those of the pairs and the corpus, in the order of hashes.

    See `searchable`.
    """
    return searchable((*held_out.corpus, *held_out.documents.values()))


def searchable(documents: Iterable[Document]) -> list[Document]:
    """Those of the documents that are searched, in the order of hashes; of a DOI the last counts.

    Where titles are known at all, only documents with one take part, so that a model of DOI
    strings and one of titles answer the same questions.
    """
    known = {d.doi: d for d in documents}
    titled = [document for document in known.values() if document.title]
    return sorted(titled or known.values(), key=lambda document: hash_order(document.doi))


def queries(held_out: HeldOutSet) -> list[Query]:
    """The queries of each group, at most 20, chosen and ordered by hash.

    They are the distinct `doi_a` of the group's positives that are searched and have an answer
    that is.
    """
    answers = _answers(held_out, {document.doi for document in searched(held_out)})
    families: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for pair in held_out.pairs:
        if pair.label and pair.doi_a in answers:
            families[pair.group][pair.doi_a].add(pair.family)
    return [
        Query(group, doi, frozenset(families[group][doi]), tuple(sorted(answers[doi])))
        for group in sorted(families)
        for doi in sorted(families[group], key=hash_order)[:GROUP_QUERIES]
    ]


def search(
    vectors: Any, asked: Sequence[Query], *, rows: dict[str, int], on_query: Callable[[int], None]
) -> list[Retrieval]:
    """The figures of each query; NaN where the query itself was not read, or has no answer.

    `vectors` [searched and read, d] are rows of unit length, dense or CSR, in the order of
    hashes, by which ties are broken; `rows` has the row of each DOI. `on_query` hears how many
    queries were just answered. Memory: 128 queries' similarities at once.
    """
    found = [UNREAD] * len(asked)
    columns = vectors.T.tocsr() if sparse.issparse(vectors) else vectors.T
    read = [place for place, query in enumerate(asked) if query.doi in rows and query.relevant]
    for start in range(0, len(read), QUERIES_AT_ONCE):
        chunk = read[start : start + QUERIES_AT_ONCE]
        product = vectors[[rows[asked[place].doi] for place in chunk]] @ columns
        similarities = product.toarray() if sparse.issparse(product) else product
        for place, row in zip(chunk, similarities, strict=True):
            found[place] = _answer(asked[place], row, rows=rows)
        on_query(len(chunk))
    return found


def ranks(similarities: NDArray[np.floating], relevant: NDArray[np.integer]) -> NDArray[np.integer]:
    """The ranks from 1 of the `relevant` columns among all `similarities`.

    Of equal ones the earlier column comes first; one that is no number comes behind all others.
    """
    similarities = np.where(np.isnan(similarities), -np.inf, similarities)
    own = similarities[relevant][:, None]
    before = np.arange(len(similarities)) < relevant[:, None]
    ahead = (similarities > own) | ((similarities == own) & before)
    return np.asarray(1 + np.count_nonzero(ahead, axis=1), np.int64)


def _answer(query: Query, similarities: NDArray[np.floating], *, rows: dict[str, int]) -> Retrieval:
    similarities[rows[query.doi]] = -np.inf
    readable = [rows[doi] for doi in query.relevant if doi in rows]
    found = np.full(len(query.relevant), np.inf)
    found[: len(readable)] = ranks(similarities, np.array(readable, np.int64))
    return retrieval(found)


def _answers(held_out: HeldOutSet, among: set[str]) -> dict[str, set[str]]:
    """The DOIs known to belong with each DOI of a positive, both `among` those searched."""
    answers: dict[str, set[str]] = defaultdict(set)
    for pair in held_out.pairs:
        if pair.label and pair.doi_a in among and pair.doi_b in among:
            answers[pair.doi_a].add(pair.doi_b)
            answers[pair.doi_b].add(pair.doi_a)
    for a, b in held_out.related:  # not asked for, but no mistake
        for doi, other in ((a, b), (b, a)):
            if doi in answers and other in among:
                answers[doi].add(other)
    return dict(answers)
