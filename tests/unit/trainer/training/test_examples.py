"""Pairs become the columns of a loss; negatives are never known positives."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Document
from schemas.pair import LabelledPair
from trainer.training import examples, recipe

# A citing paper, what it cites, and what it doesn't (real pairs and titles).
A, B, C, D = (
    "10.1155/2018/8516785",
    "10.1002/2014wr015634",
    "10.1021/jf00118a036",
    "10.1371/journal.pone.0041438",
)
PAIRS = [
    LabelledPair(A, B, 1, "tigr2ess-review:cites", f"epmc:{A}"),
    LabelledPair(A, C, 0, "tigr2ess-review:not-cited-random", f"epmc:{A}"),
    LabelledPair(A, D, 1, "tigr2ess-review:cites", f"epmc:{A}"),
]
TITLES = {
    A: "Assessing drought in an irrigated basin",
    B: "Water balance of an irrigated basin",
    C: "Flavour of stored peanuts",
}
DOCUMENTS = {doi: Document(doi=doi, title=title) for doi, title in TITLES.items()}


def test_the_cosine_losses_read_both_sides_and_the_label() -> None:
    made = examples.build(PAIRS, {}, recipe=recipe.load("seed"))
    assert made.tables == {
        "pairs": {"sentence_0": [A, A, A], "sentence_1": [B, C, D], "label": [1.0, 0.0, 1.0]}
    }
    assert (made.trained, made.positives, made.unread) == (3, 2, 0)


def test_a_pair_without_a_text_is_counted_and_left_out() -> None:
    made = examples.build(PAIRS, DOCUMENTS, recipe=recipe.load("seed", overrides=TITLE))
    assert made.tables["pairs"]["sentence_1"] == [TITLES[B], TITLES[C]]
    assert (made.trained, made.positives, made.unread) == (2, 1, 1)


def test_ranking_trains_on_positives_with_the_labelled_negative_of_their_anchor() -> None:
    made = examples.build(PAIRS, DOCUMENTS, recipe=ranking("labelled"))
    assert made.tables == {
        "triplets": {"anchor": [TITLES[A]], "positive": [TITLES[B]], "negative": [TITLES[C]]}
    }
    made = examples.build(PAIRS, DOCUMENTS, recipe=ranking())
    assert made.tables == {"pairs": {"anchor": [TITLES[A]], "positive": [TITLES[B]]}}


def test_a_group_gives_no_more_positives_than_the_recipe_allows() -> None:
    made = examples.build(PAIRS, {}, recipe=ranking(templates="{doi}", group_positives=1))
    assert made.trained == 1
    assert made.tables["pairs"]["positive"][0] in {B, D}


@given(
    st.lists(
        st.builds(
            LabelledPair,
            st.sampled_from("abcdefg"),
            st.sampled_from("abcdefg"),
            st.sampled_from([0, 1]),
            st.just("s"),
            st.sampled_from("xyz"),
        ),
        max_size=40,
    )
)
def test_no_negative_is_a_known_positive_of_its_anchor(pairs: list[LabelledPair]) -> None:
    made = examples.build(pairs, {}, recipe=ranking("labelled", templates="{doi}"))
    table = made.tables.get("triplets", {"anchor": [], "negative": []})
    together = {frozenset((p.doi_a, p.doi_b)) for p in pairs if p.label}
    for anchor, negative in zip(table["anchor"], table["negative"], strict=True):
        assert anchor != negative
        assert frozenset((anchor, negative)) not in together
    rows = sum(len(columns["anchor"]) for columns in made.tables.values())
    assert rows == sum(p.label for p in pairs) == made.trained


def test_groups_are_set_apart_whole_and_share_no_doi_with_what_is_trained_on() -> None:
    pairs = [
        LabelledPair(f"g{group}", f"d{(7 * group + row) % 400}", row % 2, "s", f"group-{group}")
        for group in range(100)
        for row in range(4)
    ]
    apart = recipe.load("seed", overrides=["development_share=0.2"])
    made = examples.build(pairs, {}, recipe=apart)
    (trained,), (development,) = made.tables.values(), made.development.values()
    assert 300 < made.trained == len(trained["label"]) < 360
    assert made.trained + made.developed + made.overlapping == len(pairs)
    assert made.developed == len(development["label"]) > 10
    texts = [{*table["sentence_0"], *table["sentence_1"]} for table in (trained, development)]
    assert texts[0].isdisjoint(texts[1])
    more = examples.build([*pairs, LabelledPair("x", "y", 1, "s", "later")], {}, recipe=apart)
    assert more.development == made.development, "it stays, whatever comes later"
    whole = examples.build(pairs, {}, recipe=recipe.load("seed"))
    assert (whole.trained, whole.developed, dict(whole.development)) == (len(pairs), 0, {})


TITLE = ['templates=["{title}"]']


def ranking(*negatives: str, templates: str = "{title}", group_positives: int = 0) -> recipe.Recipe:
    kinds = ", ".join(f'"{kind}"' for kind in negatives)
    return recipe.load(
        "seed",
        overrides=[
            "loss=multiple_negatives_ranking",
            "multi_dataset_batch_sampler=proportional",
            f'templates=["{templates}"]',
            f"negatives=[{kinds}]",
            f"group_positives={group_positives}",
        ],
    )
