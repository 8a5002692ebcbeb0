"""Evaluation on a small held-out set whose right answers are known, with real encoders."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.document import Document
from schemas.evaluation import Difference, EvalReport
from schemas.pair import LabelledPair
from trainer.data.held_out import HeldOutSet
from trainer.errors import EvaluationError
from trainer.evaluation.baselines import Prefix, Trigrams
from trainer.evaluation.comparison import differences, judged, shared_corpus
from trainer.evaluation.evaluate import Encoder, Scores, report, score
from trainer.evaluation.gate import decide
from trainer.evaluation.randoms import drawn
from trainer.evaluation.retrieval import GROUP_QUERIES, queries, ranks, searched
from worker.settings.training import GateSettings

GROUPS = 24
CITED = 3


class Letters:
    """A text's counts of letters, at unit length: an encoder whose vectors are dense."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = [[1 + text.lower().count(letter) for letter in "abcdefghij"] for text in texts]
        vectors = np.array(counts, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Noise:
    """Vectors that depend on nothing but the text's place: a model that knows nothing."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.random.default_rng(len(texts)).normal(size=(len(texts), 8))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Titles(Trigrams):
    """Trigrams of what stands before a bar: a venue behind it changes no vector."""

    def encode(self, texts: Sequence[str]) -> Any:
        return super().encode([text.partition(" | ")[0] for text in texts])


NARROW = ("{title} | {venue}",)


def compared(
    champion: Encoder,
    challenger: Encoder,
    found: HeldOutSet,
    old: Sequence[str],
    new: Sequence[str],
) -> tuple[Scores, Scores]:
    """The scores of two models as the gate asks for them."""
    alone = shared_corpus(found, old, new).is_same
    return (
        score(champion, found, templates=old, beside=None if alone else new),
        score(challenger, found, templates=new, beside=None if alone else old),
    )


def title(topic: int, number: int) -> str:
    return f"{'abcdefghijklmnopqrstuvwx'[topic] * 9} {number}"


def held_out(*, titled: bool = True, apart: tuple[str, ...] = ("easy",)) -> HeldOutSet:
    """Each group: a paper cites three of its topic, and not two of the next; one family apart."""
    pairs, documents = [], {}
    for group in range(GROUPS):
        dois = [f"10.1{group:03}/{group}.{number}" for number in range(CITED + 1)]
        for number, doi in enumerate(dois):
            text = title(group, number) if titled else None
            documents[doi] = Document(doi=doi, title=text)
        far = [f"10.1{(group + 1) % GROUPS:03}/{(group + 1) % GROUPS}.{n}" for n in (1, 2)]
        pairs += [LabelledPair(dois[0], d, 1, "main:cites", f"g{group}") for d in dois[1:]]
        pairs += [LabelledPair(dois[0], d, 0, "main:random", f"g{group}") for d in far]
        pairs.append(LabelledPair(dois[1], dois[2], 1, "easy:same", f"e{group}"))
    corpus = [Document(doi=f"10.9999/{n}", title=f"z{n}" if titled else None) for n in range(50)]
    return HeldOutSet("h" * 64, "d" * 64, frozenset(), apart, pairs, documents, corpus)


def evaluated(found: HeldOutSet, templates: tuple[str, ...] = ("{title}",)) -> EvalReport:
    scores = score(Trigrams(), found, templates=templates)
    return report(scores, found, subject="trigrams", name="trigrams")


def value(found: EvalReport, metric: str, part: str = "all") -> float:
    estimate = found.metric(metric, part)
    assert estimate is not None
    return estimate.value


def test_an_encoder_that_knows_the_topics_is_perfect_and_one_that_does_not_is_not() -> None:
    right = evaluated(held_out())
    for metric in ("roc_auc", "average_precision", "ndcg@10", "recall@10", "mrr"):
        assert value(right, metric) == pytest.approx(1)
    noise = score(Noise(), held_out(), templates=("{title}",))
    wrong = report(noise, held_out(), subject="noise", name="noise")
    assert 0.3 < value(wrong, "roc_auc") < 0.7
    assert value(wrong, "ndcg@10") < 0.2


def test_to_find_a_related_document_that_is_not_asked_for_is_no_mistake() -> None:
    found = held_out()
    lost = [pair for pair in found.pairs if not (pair.label and pair.doi_b.endswith(".1"))]
    poorer = found._replace(pairs=lost)
    asked = {query.doi: query.relevant for query in queries(found)}
    assert any(query.relevant != asked[query.doi] for query in queries(poorer))
    related = tuple(pair.key for pair in found.pairs if pair.label and pair not in lost)
    again = {query.doi: query.relevant for query in queries(poorer._replace(related=related))}
    assert again == {doi: asked[doi] for doi in again}


def test_the_report_counts_and_its_slices() -> None:
    found = report(
        score(Trigrams(), held_out(), templates=("{title}",)),
        held_out(),
        subject="trigrams",
        name="t",
        seen=3,
    )
    whole = next(part for part in found.slices if part.name == "all")
    names = [part.name for part in found.slices]
    assert names == ["all", "random", "source:easy", "source:main", "negatives:main:random"]
    assert (whole.pairs, whole.positives, whole.groups, whole.queries) == (120, 72, 24, 24)
    assert (found.pairs, found.unread, found.corpus) == (144, 0, GROUPS * 4 + 50)
    assert found.seen == 3
    assert (found.slices[4].pairs, found.slices[4].positives) == (120, 72), "main's own positives"
    assert set(found.slices[4].metrics) == {"roc_auc", "average_precision"}
    assert (found.slices[1].pairs, found.slices[1].positives) == (144, 72), "one drawn for each"
    assert set(found.slices[1].metrics) == {"roc_auc", "average_precision"}
    assert set(found.slices[2].metrics) == {"ndcg@10", "recall@10", "mrr"}, "one label only"
    assert EvalReport.model_validate_json(found.model_dump_json()) == found


def test_the_prefix_reads_dois_and_ties_are_broken_without_regard_to_labels() -> None:
    scores = score(Prefix(), held_out(), templates=Prefix.templates)
    labels = np.array([pair.label for pair in held_out().pairs])
    assert (scores.cosine == labels).all(), "here positives share their prefix"
    # Now every document has one prefix: a search is a draw of lots, whatever the labels.
    one = held_out()
    texts = ("10.1/{title}",)
    lots = report(score(Prefix(), one, templates=texts), one, subject="prefix", name="prefix")
    assert value(lots, "roc_auc") == 0.5
    assert value(lots, "mrr") < 0.15, "the mean reciprocal rank of a draw is about 0.04"


def test_ranks_are_those_of_a_stable_sort() -> None:
    similarities = np.random.default_rng(0).integers(0, 6, 200).astype(np.float32)
    order = np.argsort(-similarities, kind="stable")
    expected = np.empty(200, np.int64)
    expected[order] = np.arange(1, 201)
    some = np.array([7, 3, 199, 50])
    assert ranks(similarities, some).tolist() == expected[some].tolist()


@pytest.mark.parametrize("encoder", [Letters(), Trigrams()], ids=["dense", "sparse"])
def test_scores_are_what_plain_loops_give(encoder: Letters | Trigrams) -> None:
    found = held_out()
    scores = score(encoder, found, templates=("{title}",))
    documents = searched(found)
    vectors = encoder.encode([document.title or "" for document in documents])
    if not isinstance(vectors, np.ndarray):
        vectors = vectors[:, np.unique(vectors.indices)].toarray()
    dense = np.asarray(vectors)
    rows = {document.doi: row for row, document in enumerate(documents)}
    for place, pair in enumerate(found.pairs):
        cosine = float(dense[rows[pair.doi_a]] @ dense[rows[pair.doi_b]])
        assert scores.cosine[place] == pytest.approx(cosine, abs=1e-6)
    for place, query in enumerate(queries(found)):
        others = [row for row in range(len(documents)) if row != rows[query.doi]]
        similar = dense[others] @ dense[rows[query.doi]]
        own = dense[[rows[doi] for doi in query.relevant]] @ dense[rows[query.doi]]
        first = min(1 + (similar > one + 1e-6).sum() for one in own)  # if ties are won
        last = min((similar >= one - 1e-6).sum() for one in own)  # and if they are lost
        assert 1 / last - 1e-6 <= scores.mrr[place] <= 1 / first + 1e-6


def test_queries_are_at_most_twenty_a_group_and_need_a_titled_answer() -> None:
    pairs = [LabelledPair(f"10.1/{n}", "10.1/hub", 1, "s", "review") for n in range(50)]
    pairs.append(LabelledPair("10.1/0", "10.1/bare", 1, "s", "other"))
    pairs.append(LabelledPair("10.1/bare", "10.1/0", 1, "s", "bare asks"))
    documents = {doi: Document(doi=doi, title="t") for p in pairs for doi in (p.doi_a, p.doi_b)}
    documents["10.1/bare"] = Document(doi="10.1/bare")
    found = HeldOutSet("h", "d", frozenset(), (), pairs, documents, [Document(doi="10.2/bare")])
    asked = queries(found)
    assert [q.group for q in asked] == ["other"] + ["review"] * GROUP_QUERIES
    assert all(query.relevant == ("10.1/hub",) for query in asked)
    assert len(searched(found)) == 51
    reverse = found._replace(pairs=pairs[::-1])
    assert queries(reverse) == asked, "the order of the pairs decides nothing"


def test_answers_stand_with_the_query_either_way_round_in_any_group() -> None:
    ways = [("q", "x", 1, "g"), ("y", "q", 1, "h"), ("q", "z", 0, "g")]
    pairs = [LabelledPair(f"10.1/{a}", f"10.1/{b}", label, "s", g) for a, b, label, g in ways]
    documents = {f"10.1/{name}": Document(doi=f"10.1/{name}") for name in "qxyz"}
    asked = queries(HeldOutSet("h", "d", frozenset(), (), pairs, documents, []))
    found = {(query.group, query.doi): query.relevant for query in asked}
    assert found == {("g", "10.1/q"): ("10.1/x", "10.1/y"), ("h", "10.1/y"): ("10.1/q",)}


def test_the_order_of_what_is_searched_does_not_tell_the_corpus_from_the_pairs() -> None:
    found = held_out()
    exchanged = found._replace(
        documents={document.doi: document for document in found.corpus},
        corpus=list(found.documents.values()),
    )
    assert searched(found) == searched(exchanged)
    assert len(searched(found)) == GROUPS * 4 + 50


def test_without_titles_all_documents_are_searched() -> None:
    bare = held_out(titled=False)
    found = evaluated(bare, ("{doi}",))
    assert found.corpus == GROUPS * 4 + 50
    assert value(found, "ndcg@10") > 0.9


def test_what_has_no_text_is_unread_and_never_found() -> None:
    found = held_out()
    lost = "10.1000/0.1"
    found.documents[lost] = Document(doi=lost, title="aaaaaaaaa 1", abstract=None)
    scores = score(Trigrams(), found, templates=("{title} {year}",))
    assert np.isnan(scores.cosine).all()
    assert np.isnan(scores.ndcg).all()
    nothing = report(scores, found, subject="none", name="none")
    assert (nothing.unread, nothing.slices) == (len(found.pairs), ())

    for doi, document in found.documents.items():
        if doi != lost:
            found.documents[doi] = document.model_copy(update={"year": 2000})
    scores = score(Trigrams(), found, templates=("{title} {year}",))
    assert np.isnan(scores.cosine).sum() == 3
    place = [query.doi for query in queries(found)].index("10.1000/0.0")
    assert scores.recall[place] == pytest.approx(2 / 3)


def test_templates_are_slices_where_several_read() -> None:
    found = held_out()
    for number in range(CITED + 1):
        for group in range(GROUPS // 2):
            doi = f"10.1{group:03}/{group}.{number}"
            found.documents[doi] = Document(doi=doi)
    report_ = evaluated(found, ("{title}", "{doi}"))
    parts = {part.name: part for part in report_.slices}
    assert parts["template:{title}"].pairs == parts["template:{doi}"].pairs == 60
    assert parts["template:{title}"].queries == 12
    assert parts["template:{doi}"].queries == 0, "only titled documents ask"


def test_scores_are_kept_without_pickle_and_must_fit(tmp_path: Path) -> None:
    found = held_out()
    scores = score(Letters(), found, templates=("{title}", "{doi}"))
    path = tmp_path / "scores.npz"
    scores.save(path)
    again = Scores.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.npz"]
    assert report(again, found, subject="s", name="n") == report(
        scores, found, subject="s", name="n"
    )
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EvaluationError, match=r"scores\.npz can't be read"):
        Scores.load(path)
    np.savez(path, held_out=np.array([{}], dtype=object))
    with pytest.raises(EvaluationError):
        Scores.load(path)
    with pytest.raises(EvaluationError, match="not of"):
        report(scores, found._replace(id="other"), subject="s", name="n")


@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(1, 255), is_cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_scores_that_are_damaged_anywhere_are_told_or_the_same(
    place: float, byte: int, is_cut: bool
) -> None:
    with TemporaryDirectory() as made:
        path = Path(made) / "scores.npz"
        scores = score(Letters(), held_out(), templates=("{title}",))
        scores.save(path)
        content = bytearray(path.read_bytes())
        at = int(place * len(content))
        content[at] ^= byte
        path.write_bytes(content[:at] if is_cut else content)
        with suppress(EvaluationError):
            again = Scores.load(path)
            assert report(again, held_out(), subject="s", name="n") == report(
                scores, held_out(), subject="s", name="n"
            )


@pytest.mark.parametrize(
    "templates", [("{title}",), ("{doi}",), ("{title}", "{doi}"), ("{venue}",)]
)
@pytest.mark.parametrize("other", [("{title}",), ("{venue}", "{doi}")])
def test_what_can_be_judged_is_known_without_a_model(
    templates: tuple[str, ...], other: tuple[str, ...]
) -> None:
    for titled in (True, False):
        found = held_out(titled=titled)
        both = compared(Noise(), Noise(), found, templates, other)
        measured = {
            difference.metric: difference.groups
            for difference in differences(*both, found, only=["all"])
            if difference.metric != "read"
        }
        easy = by_name(differences(*both, found, only=["random"]))
        if ("roc_auc", "random") in easy:
            measured["random_roc_auc"] = easy["roc_auc", "random"].groups
        assert judged(found, templates, other) == measured


def test_differences_are_paired_and_a_model_does_not_differ_from_itself() -> None:
    found = held_out()
    noise = score(Noise(), found, templates=("{title}",))
    right = score(Trigrams(), found, templates=("{title}",))
    assert {d.difference.high - d.difference.low for d in differences(right, right, found)} == {0.0}
    better, worse = (by_name(differences(*two, found)) for two in ((noise, right), (right, noise)))
    for name, difference in better.items():
        assert difference.difference.value == pytest.approx(-worse[name].difference.value)
    rules = GateSettings(minimum_groups=20)
    names = {"champion": "a", "challenger": "b", "held_out": found.id}
    assert decide(list(better.values()), **names, rules=rules).promote
    assert not decide(list(worse.values()), **names, rules=rules).promote


def test_a_model_that_reads_less_is_compared_on_what_both_read_and_its_loss_is_told() -> None:
    found = held_out()
    for doi in [f"10.1{group:03}/{group}.3" for group in range(GROUPS)]:
        found.documents[doi] = Document(doi=doi)
    dois, titles = compared(Trigrams(), Trigrams(), found, ("{doi}",), ("{title}",))
    differ = by_name(differences(dois, titles, found))
    assert differ["read", "all"].difference.value == pytest.approx(-24 / 120)
    of_titles = report(titles, found, subject="t", name="t")
    assert differ["roc_auc", "all"].challenger == pytest.approx(value(of_titles, "roc_auc"))
    names = {"champion": "a", "challenger": "b", "held_out": found.id}
    verdict = decide(list(differ.values()), **names, rules=GateSettings())
    assert any("cover 80.0% of the pairs, the champion's 100.0%" in r for r in verdict.reasons)


@pytest.mark.parametrize("narrow_champion", [True, False])
def test_only_what_both_read_is_compared(narrow_champion: bool) -> None:
    found = held_out()
    for doi, document in found.documents.items():
        if int(doi.split("/")[1].split(".")[0]) < GROUPS // 2:
            found.documents[doi] = document.model_copy(update={"year": 2000})
    wide, narrow = compared(Noise(), Trigrams(), found, ("{title}",), ("{title} {year}",))
    pair = (narrow, wide) if narrow_champion else (wide, narrow)
    differ = by_name(differences(*pair, found))
    alone = report(narrow, found, subject="narrow", name="narrow")
    for metric in ("roc_auc", "spearman", "ndcg@10", "mrr"):
        both = differ[metric, "all"]
        same = both.champion if narrow_champion else both.challenger
        assert same == pytest.approx(value(alone, metric))
        assert both.groups == GROUPS // 2


def test_a_narrower_template_changes_nothing_for_the_same_encoder() -> None:
    """What it can't read is no competitor for the other one either, and no answer."""
    found = held_out()
    for doi in found.documents:  # every question and answer has a venue, the competitors have not
        known = found.documents[doi]
        found.documents[doi] = known.model_copy(update={"venue": "Journal"})
    near = [Document(doi=f"10.8/{n}", title=title(n % GROUPS, n % 4)) for n in range(20 * GROUPS)]
    found.corpus.extend(near)
    assert value(evaluated(found), "ndcg@10") < 0.6 < value(evaluated(found, NARROW), "ndcg@10")
    for templates in ((("{title}",), NARROW), (NARROW, ("{title}",))):
        two = compared(Titles(), Titles(), found, *templates)
        assert {d.difference.value for d in differences(*two, found)} == {0.0}
    corpus = shared_corpus(found, ("{title}",), NARROW)
    assert corpus.challenger_unread == len(found.corpus)
    assert (corpus.champion_unread, corpus.searched) == (0, len(found.documents))
    verdict = decide(
        differences(*compared(Titles(), Titles(), found, ("{title}",), NARROW), found),
        champion="a",
        challenger="b",
        held_out=found.id,
        rules=GateSettings(minimum_groups=2),
        corpus=corpus,
    )
    assert not verdict.promote
    assert any("search the 96 of 626 documents that both read" in r for r in verdict.reasons)


def test_an_answer_that_one_of_two_can_not_read_is_no_answer() -> None:
    found = held_out()
    for doi, document in found.documents.items():
        if not doi.endswith(".3"):
            found.documents[doi] = document.model_copy(update={"venue": "Journal"})
    two = compared(Titles(), Titles(), found, ("{title}",), NARROW)
    differ = by_name(differences(*two, found))
    assert differ["recall@10", "all"].champion == differ["recall@10", "all"].challenger == 1
    assert differ["recall@10", "all"].groups == GROUPS


def test_models_that_searched_different_documents_are_not_compared() -> None:
    found = held_out()
    found.documents["10.1000/0.1"] = Document(doi="10.1000/0.1", title="aaa", venue="V")
    alone = [score(Letters(), found, templates=t) for t in (("{title}",), NARROW)]
    with pytest.raises(EvaluationError, match="did not search the same documents"):
        differences(*alone, found)


def test_the_report_says_how_many_documents_it_did_not_search() -> None:
    found = held_out()
    found.documents["10.1000/0.1"] = Document(doi="10.1000/0.1", title="aaa", venue="V")
    said = evaluated(found, NARROW)
    assert (said.corpus, said.unsearched) == (GROUPS * 4 + 50, GROUPS * 4 + 49)
    assert evaluated(found).unsearched == 0


def test_random_negatives_are_held_out_documents_of_other_groups() -> None:
    found = held_out(apart=("easy", "more"))
    own = {doi for pair in found.pairs for doi in (pair.doi_a, pair.doi_b)}
    groups: dict[str, set[str]] = {}
    for pair in found.pairs:
        groups.setdefault(pair.group, set()).update((pair.doi_a, pair.doi_b))
    negatives = drawn(found)
    assert len(negatives) == sum(p.label for p in found.pairs if p.family == "main")
    for pair in negatives:
        assert pair.doi_b in own
        assert not any({pair.doi_a, pair.doi_b} <= dois for dois in groups.values())
    assert len({pair.doi_b for pair in negatives}) > 30
    assert drawn(found._replace(pairs=found.pairs[::-1])) == negatives
    related = tuple((pair.doi_a, pair.doi_b) for pair in negatives[:5])
    again = drawn(found._replace(related=related))
    assert not {pair.key for pair in again} & {tuple(sorted(two)) for two in related}


def test_no_random_negative_is_drawn_of_a_document_that_is_not_searched_or_of_one_group() -> None:
    found = held_out()
    bare = found.pairs[0].doi_b
    found.documents[bare] = Document(doi=bare)
    dois = {doi for pair in drawn(found) for doi in (pair.doi_a, pair.doi_b)}
    assert bare not in dois
    one = found._replace(pairs=[pair for pair in found.pairs if pair.group == "g0"])
    small = {doi: found.documents[doi] for p in one.pairs for doi in (p.doi_a, p.doi_b)}
    assert drawn(one._replace(documents=small)) == []
    assert evaluated(one._replace(documents=small)).metric("roc_auc", "random") is None


def test_an_encoder_that_knows_the_topics_tells_random_ones_and_noise_does_not() -> None:
    assert value(evaluated(held_out()), "roc_auc", "random") == pytest.approx(1)
    noise = score(Noise(), held_out(), templates=("{title}",))
    easy = report(noise, held_out(), subject="n", name="n").metric("roc_auc", "random")
    assert easy is not None
    assert 0.3 < easy.value < 0.7


class Broken(Letters):
    """Gives a vector of no numbers for one text."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = super().encode(texts)
        vectors[0] = np.nan
        return vectors


def test_vectors_that_are_no_numbers_are_refused_and_rank_last() -> None:
    with pytest.raises(EvaluationError, match="not finite"):
        score(Broken(), held_out(), templates=("{title}",))
    similarities = np.array([0.1, np.nan, 0.3, np.nan], np.float32)
    assert ranks(similarities, np.arange(4)).tolist() == [2, 3, 1, 4]


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int]] = []
    score(
        Letters(),
        held_out(),
        templates=("{doi}",),
        on_progress=lambda done, total: told.append((done, total)),
    )
    total = GROUPS * 4 + 50 + len(queries(held_out()))
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def by_name(found: list[Difference]) -> dict[tuple[str, str], Difference]:
    return {(difference.metric, difference.part): difference for difference in found}
