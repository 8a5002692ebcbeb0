import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Document
from schemas.job import pack, unpack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
DOCUMENTS = st.builds(
    Document,
    doi=TEXTS.map(lambda suffix: f"10.1000/{suffix}"),
    title=st.none() | TEXTS,
    abstract=st.none() | TEXTS,
    year=st.none() | st.integers(1000, 3000),
    venue=st.none() | TEXTS,
)


@given(st.lists(DOCUMENTS))
def test_a_batch_is_unpacked_as_it_was_packed(documents: list[Document]) -> None:
    assert unpack(pack(documents)) == tuple(documents)


@given(DOCUMENTS, DOCUMENTS)
def test_the_content_hash_covers_every_field(one: Document, other: Document) -> None:
    assert (one.content_hash == other.content_hash) == (one == other)


def test_the_content_hash_is_pinned() -> None:
    # What is stored carries it: another hash would write every record anew.
    assert Document(doi="10.1038/nphys1170").content_hash == "c6ef92803a5f93733b9a484dc9e1ee01"
    assert Document(doi="10.1038/nphys1170", title="Über", year=2009).content_hash == (
        "d81f37bec3e7b4746bce50ffe2c3c33f"
    )


def test_a_changed_copy_has_a_hash_of_its_own() -> None:
    bare = Document(doi="10.1038/nphys1170")
    assert bare.content_hash
    changed = bare.model_copy(update={"title": "T"})
    assert changed == Document(doi=bare.doi, title="T")
    assert changed.content_hash == Document(doi=bare.doi, title="T").content_hash
    assert not changed.is_bare


def test_a_record_is_supplemented_by_what_it_lacks_and_by_nothing_else() -> None:
    given = Document(doi="10.1000/a", title="Given", year=1999)
    title = Document(doi="10.1000/a", title="Looked up", venue="V", source="crossref")
    abstract = Document(doi="10.1000/a", venue="W", abstract="A", source="openalex")
    both = given.supplemented([title, abstract])
    assert both.metadata == {"title": "Given", "abstract": "A", "year": 1999, "venue": "V"}
    assert both.source == "given"
    assert {n: both.source_of(n) for n in both.metadata} == {
        "title": "given",
        "abstract": "openalex",
        "year": "given",
        "venue": "crossref",
    }
    assert unpack(pack([both])) == (both,)
    assert both.unsigned() == Document(doi="10.1000/a", **both.metadata)
    assert given.supplemented([]) is given


def test_half_a_surrogate_pair_is_no_document() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        unpack(zlib.compress(rb'["\udcff"]'))
    written = Document(doi="10.1000/a", title=r"what \udcff is")
    assert unpack(pack([written])) == (written,)
