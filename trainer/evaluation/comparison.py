"""Two models on a held-out set: what the one's figures are beside the other's."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from schemas.evaluation import Corpus, Difference
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError
from trainer.evaluation import metrics
from trainer.evaluation.evaluate import BOTH_LABELS, check, of_pairs
from trainer.evaluation.metrics import Floats
from trainer.evaluation.parts import Part, easy_part, parts, whole
from trainer.evaluation.randoms import drawn
from trainer.evaluation.reading import both_sides, readable
from trainer.evaluation.retrieval import queries, searched
from trainer.evaluation.scores import QUERY_METRICS, Scores


def differences(
    champion: Scores,
    challenger: Scores,
    held_out: HeldOutSet,
    *,
    only: Collection[str] | None = None,
) -> list[Difference]:
    """Each metric of each slice: the challenger's minus the champion's, with paired intervals.

    `only` names the slices that are wanted, by default all.
    Only pairs and queries that both read are compared, on the same draws; `read` on `all` is
    the share of pairs that each one's templates read, over all of them. Slices by template are
    those of the challenger. Raises `EvaluationError` where the two are not of this held-out set,
    or where they did not search the same documents for the same answers.
    """
    for scores in (champion, challenger):
        check(scores, held_out)
    if champion.corpus != challenger.corpus:
        raise EvaluationError("the two models did not search the same documents")
    both = ~np.isnan(champion.similarity) & ~np.isnan(challenger.similarity)
    asked = ~np.isnan(champion.ndcg) & ~np.isnan(challenger.ndcg)
    slices = parts(held_out, challenger)
    found = list(_coverage(champion, challenger, held_out, part=slices[0]))
    for part in slices:
        if only is None or part.name in only:
            found += _differences(champion, challenger, part.only(both, asked))
    return found


def judged(
    held_out: HeldOutSet, champion: Sequence[str], challenger: Sequence[str]
) -> dict[str, int]:
    """Over how many groups each metric on `all` can be measured, for models that read by these.

    Only what both read counts, as in `differences`; a metric that can't be is left out.
    """
    shared = readable(held_out, champion) & readable(held_out, challenger)
    asked = queries(held_out)
    if not shared_corpus(held_out, champion, challenger).is_same:
        asked = [query.of(shared) for query in asked]
    answered = np.array([query.doi in shared and bool(query.relevant) for query in asked], bool)
    every = [*held_out.pairs, *drawn(held_out)]
    part = whole(held_out, asked).only(both_sides(every, shared), answered)
    found: dict[str, int] = {}
    if len(np.unique(part.labels)) == BOTH_LABELS:
        found |= dict.fromkeys(part.pair_metrics, part.groups)
    easy = easy_part(held_out).only(both_sides(every, shared), answered)
    if len(np.unique(easy.labels)) == BOTH_LABELS:
        found["random_roc_auc"] = easy.groups
    if len(part.queries):
        found |= dict.fromkeys(QUERY_METRICS, int(part.query_groups.max()) + 1)
    return found


def shared_corpus(
    held_out: HeldOutSet, champion: Sequence[str], challenger: Sequence[str]
) -> Corpus:
    """What two models that read by these templates both search, and what either can't read."""
    dois = {document.doi for document in searched(held_out)}
    old, new = (dois & readable(held_out, one) for one in (champion, challenger))
    return Corpus(
        documents=len(dois),
        champion_unread=len(dois - old),
        challenger_unread=len(dois - new),
        searched=len(old & new),
    )


def _differences(champion: Scores, challenger: Scores, part: Part) -> Iterator[Difference]:
    both = zip(of_pairs(champion, part), of_pairs(challenger, part), strict=True)
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


def _coverage(
    champion: Scores, challenger: Scores, held_out: HeldOutSet, *, part: Part
) -> Iterator[Difference]:
    if not len(part.pairs):
        return
    known = (readable(held_out, scores.templates) for scores in (champion, challenger))
    old, new = (
        part.resample({"read": metrics.mean}, both_sides(held_out.pairs, dois))["read"]
        for dois in known
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
