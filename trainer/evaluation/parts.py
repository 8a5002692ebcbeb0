"""The slices of a held-out set: which pairs and which queries each one judges."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.evaluation.metrics import PAIR_METRICS, Floats, Metric, resample_pairs
from trainer.evaluation.randoms import RANDOM, drawn, positives
from trainer.evaluation.retrieval import Query, queries
from trainer.evaluation.scores import Scores

AGAINST_NEGATIVES = ("roc_auc", "average_precision")
Places = NDArray[np.int64]


class Part(NamedTuple):
    """A slice: places of its pairs (in `Scores.similarity`) and queries, with labels and groups.

    `pair_groups` and `query_groups` number the groups from 0, without gaps, in the order of
    their names.
    """

    name: str
    pairs: Places
    labels: Places
    pair_groups: Places
    queries: Places
    query_groups: Places
    pair_metrics: tuple[str, ...]

    @property
    def groups(self) -> int:
        """How many groups its pairs are of."""
        return int(self.pair_groups.max(initial=-1)) + 1

    def resample(
        self, metrics: Mapping[str, Metric], values: NDArray[np.generic]
    ) -> dict[str, Floats]:
        """Each metric of `values` (by the pairs' places) on this part's: [1 + draws]."""
        chosen = values[self.pairs].astype(np.float64)
        return resample_pairs(metrics, chosen, labels=self.labels, groups=self.pair_groups)

    def only(self, pairs: NDArray[np.bool_], queries: NDArray[np.bool_]) -> "Part":
        """The part without the pairs and queries that these masks over the whole set lack."""
        of_pairs, of_queries = pairs[self.pairs], queries[self.queries]
        return self._replace(
            pairs=self.pairs[of_pairs],
            labels=self.labels[of_pairs],
            pair_groups=_renumber(self.pair_groups[of_pairs]),
            queries=self.queries[of_queries],
            query_groups=_renumber(self.query_groups[of_queries]),
        )


def parts(held_out: HeldOutSet, scores: Scores) -> list[Part]:
    """The slices of a subject's scores, `all` first, `random` second.

    `all` leaves out the families in `held_out.apart`; `source:FAMILY` is each family;
    `random` has the positives of `all` and negatives drawn at random (see `randoms.drawn`);
    `negatives:SOURCE` has a family's positives and its negatives of one source;
    `template:TEXT`, where several templates read, is what is in `all` and read by one.
    """
    asked = queries(held_out)
    all_of_it = whole(held_out, asked)
    by_source = (*_families(held_out, asked), *_negatives(held_out))
    return [all_of_it, easy_part(held_out), *by_source, *_by_template(all_of_it, scores)]


def whole(held_out: HeldOutSet, asked: Sequence[Query]) -> Part:
    """The slice `all`, with the set's queries: what is not of the families in `held_out.apart`."""
    apart = frozenset(held_out.apart)
    return _part(
        "all",
        held_out,
        pairs=[place for place, pair in enumerate(held_out.pairs) if pair.family not in apart],
        asked={place: q for place, q in enumerate(asked) if q.families - apart},
    )


def easy_part(held_out: HeldOutSet) -> Part:
    """The slice `random`: its drawn negatives stand behind the pairs in `Scores.similarity`."""
    chosen = set(positives(held_out))
    own = [(n, pair) for n, pair in enumerate(held_out.pairs) if pair in chosen]
    own += enumerate(drawn(held_out), start=len(held_out.pairs))
    found = _of(RANDOM, [pair for _, pair in own], places=[place for place, _ in own])
    return found._replace(pair_metrics=AGAINST_NEGATIVES)


def _families(held_out: HeldOutSet, asked: Sequence[Query]) -> Iterator[Part]:
    for family in sorted({pair.family for pair in held_out.pairs}):
        yield _part(
            f"source:{family}",
            held_out,
            pairs=[n for n, pair in enumerate(held_out.pairs) if pair.family == family],
            asked={n: query for n, query in enumerate(asked) if family in query.families},
        )


def _negatives(held_out: HeldOutSet) -> Iterator[Part]:
    for source, family in sorted({(p.source, p.family) for p in held_out.pairs if not p.label}):
        places = [
            place
            for place, pair in enumerate(held_out.pairs)
            if (pair.family == family if pair.label else pair.source == source)
        ]
        part = _part(f"negatives:{source}", held_out, pairs=places, asked={})
        yield part._replace(pair_metrics=AGAINST_NEGATIVES)


def _by_template(whole: Part, scores: Scores) -> Iterator[Part]:
    used = np.unique(scores.template[whole.pairs])
    used = used[used >= 0]
    for place in used if len(used) > 1 else ():
        part = whole.only(scores.template == place, scores.query_template == place)
        yield part._replace(name=f"template:{scores.templates[place]}")


def _part(
    name: str, held_out: HeldOutSet, *, pairs: Sequence[int], asked: dict[int, Query]
) -> Part:
    found = _of(name, [held_out.pairs[place] for place in pairs], places=pairs)
    return found._replace(
        queries=np.array(list(asked), np.int64),
        query_groups=_renumber(np.array([query.group for query in asked.values()])),
    )


def _of(name: str, pairs: Sequence[LabelledPair], *, places: Sequence[int]) -> Part:
    nothing = np.array([], np.int64)
    return Part(
        name,
        pairs=np.array(places, np.int64),
        labels=np.array([pair.label for pair in pairs], np.int64),
        pair_groups=_renumber(np.array([pair.group for pair in pairs])),
        queries=nothing,
        query_groups=nothing,
        pair_metrics=tuple(PAIR_METRICS),
    )


def _renumber(groups: NDArray[np.generic]) -> Places:
    _, numbers = np.unique(groups, return_inverse=True)
    return np.asarray(numbers, np.int64)
