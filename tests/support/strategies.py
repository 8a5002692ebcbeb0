"""Labelled pairs that Hypothesis makes up: few DOIs and few groups, so that they meet."""

from hypothesis import strategies as st

from schemas.pair import LabelledPair

DOIS = st.integers(0, 12).map(lambda n: f"10.1000/{n}")
LABELLED_PAIRS = st.builds(
    LabelledPair,
    doi_a=DOIS,
    doi_b=DOIS,
    label=st.integers(0, 1),
    source=st.sampled_from(["one:cites", "one:not", "two", "three:cites"]),
    group=st.integers(0, 8).map(lambda n: f"group {n}"),
)
