"""Merging records: the same one in whatever order, however often, and nothing poorer erases."""

from functools import reduce
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from schemas.document import GIVEN, METADATA_FIELDS, Document
from schemas.record import Record, Stamp

DOI = "10.7717/peerj.453"


def documents() -> st.SearchStrategy[Document]:
    text = st.sampled_from([None, "a", "b"])
    return st.builds(
        Document,
        doi=st.just(DOI),
        title=text,
        abstract=text,
        year=st.sampled_from([None, 2001, 2002]),
        venue=text,
        source=st.sampled_from([GIVEN, "crossref"]),
    )


def histories(*, longest: int) -> st.SearchStrategy[list[Record]]:
    """Records of one DOI, each under a sequence of its own."""
    return st.lists(documents(), min_size=1, max_size=longest).map(
        lambda found: [Record.of(d, number) for number, d in enumerate(found, start=1)]
    )


def merged(records: list[Record]) -> Record:
    return reduce(Record.merged, records)


@given(histories(longest=4))
def test_any_order_and_any_repetition_give_the_same_record(records: list[Record]) -> None:
    expected = merged(records)
    for order in permutations(records):
        assert merged([*order, *order]) == expected
        assert merged([*order, expected]).revision == expected.revision


@given(histories(longest=6))
def test_each_field_is_what_was_given_for_it_last(records: list[Record]) -> None:
    found = merged(records)
    for name in METADATA_FIELDS:
        said = [r for r in records if name in r.stamps]
        by_people = [r for r in said if r.stamps[name].source == GIVEN]
        expected = (by_people or said)[-1].document.metadata[name] if said else None
        assert found.document.metadata.get(name) == expected
    assert found.sequence == records[-1].sequence


@given(histories(longest=4), st.integers(0, 5), st.permutations(range(4)))
def test_what_was_deleted_does_not_come_back_by_merging(
    records: list[Record], tombstone: int, order: list[int]
) -> None:
    newer = [r for r in records if r.sequence >= tombstone]
    if not newer:
        assert merged(records).since(tombstone) is None
        return
    knowing = newer[-1].since(tombstone)
    assert knowing
    found = merged([knowing, *(records[n] for n in order if n < len(records))])
    assert found.document == merged(newer).document


def test_a_revision_tells_states_apart() -> None:
    one = Record.of(Document(doi=DOI, title="A"), 5)
    others = [
        Record.of(Document(doi="10.7717/peerj.454", title="A"), 5),
        Record.of(Document(doi=DOI, title="B"), 5),
        Record.of(Document(doi=DOI, venue="A"), 5),
        Record.of(Document(doi=DOI, title="A", source="crossref"), 5),
        Record.of(Document(doi=DOI, title="A"), 6),
        one.since(3),
    ]
    assert len({r.revision for r in others if r} | {one.revision}) == 7
    assert Record.of(Document(doi=DOI, title="A"), 5).revision == one.revision


def test_what_a_person_gave_outranks_what_was_looked_up_later() -> None:
    assert Stamp(1).rank > Stamp(9, "crossref").rank
    assert Stamp(2).rank > Stamp(1).rank
