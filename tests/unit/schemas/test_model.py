import pytest
from pydantic import ValidationError

from schemas.document import Document
from schemas.model import (
    TEXT_CHARACTERS,
    InvalidTemplate,
    ModelVersion,
    check_templates,
    collection_name,
    guard_alias,
    render,
    shorten,
    text_from,
    version_prefix,
)

BARE = Document(doi="10.1038/s41586-020-2649-2")
TITLED = Document(doi=BARE.doi, title="Array programming with NumPy", year=2020)
TEXT_FIRST = ("{title}. {abstract}", "{title} ({year})", "{doi}")


def test_the_first_template_applies_whose_fields_a_document_has() -> None:
    whole = TITLED.model_copy(update={"abstract": "Array programming provides a syntax."})
    assert render(whole, TEXT_FIRST) == (
        "Array programming with NumPy. Array programming provides a syntax."
    )
    assert render(TITLED, TEXT_FIRST) == "Array programming with NumPy (2020)"
    assert render(BARE, TEXT_FIRST) == "10.1038/s41586-020-2649-2"


def test_a_document_without_the_fields_has_no_text() -> None:
    assert render(BARE, TEXT_FIRST[:2]) is None


@pytest.mark.parametrize(
    ("known", "templates", "source"),
    [
        ({"title": "T", "abstract": "A"}, TEXT_FIRST, "title+abstract"),
        ({"title": "T", "year": 2020}, TEXT_FIRST, "title+year"),
        ({"title": "T"}, TEXT_FIRST, "doi"),
        ({"title": " ", "abstract": "A"}, ("{title}", "{doi}"), "doi"),
        ({"title": "T", "venue": "V"}, ("{venue}: {title}, in {venue}",), "venue+title"),
        ({}, TEXT_FIRST[:2], None),
    ],
)
def test_what_a_text_was_made_of_is_told_by_the_template_that_applies(
    known: dict[str, object], templates: tuple[str, ...], source: str | None
) -> None:
    document = Document.model_validate({"doi": BARE.doi, **known})
    assert text_from(document, templates) == source
    assert (render(document, templates) is None) == (source is None)


def test_a_text_beyond_the_limit_is_cut_at_a_word_and_a_shorter_one_is_left_alone() -> None:
    words = "measurement " * (TEXT_CHARACTERS // 12)
    whole = (words + "uncertainty").strip()
    assert shorten(whole) == words.strip()
    assert shorten(words + " \t" * 9) == words.strip()
    assert shorten(whole[:TEXT_CHARACTERS]) == whole[:TEXT_CHARACTERS], "exactly the limit"
    document = Document(doi=BARE.doi, title="T", abstract=whole)
    assert render(document, TEXT_FIRST) == shorten(f"T. {whole}")


@pytest.mark.parametrize("endless", ["不确定度" * TEXT_CHARACTERS, "x" * (TEXT_CHARACTERS + 1)])
def test_a_long_text_without_blanks_keeps_what_the_limit_leaves(endless: str) -> None:
    assert shorten(f"Title. {endless}") == f"Title. {endless}"[:TEXT_CHARACTERS]


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_field_is_as_good_as_none(empty: str) -> None:
    assert render(Document(doi=BARE.doi, title=empty), ("{title}", "{doi}")) == BARE.doi


def test_braces_in_a_record_are_text() -> None:
    document = Document(doi="10.1000/{0}", title="On {doi} and {{x}}")
    assert render(document, ("{{{title}}} {doi}",)) == "{On {doi} and {{x}}} 10.1000/{0}"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{author}", "asks for {author}; the fields are {doi}, {title}"),
        ("{}", "asks for {}"),
        ("{0}", "asks for {0}"),
        ("{doi.__class__}", "asks for {doi.__class__}"),
        ("{doi[0]}", "asks for {doi[0]}"),
        ("{doi:>200000000}", "formats {doi}"),
        ("{doi!r}", "formats {doi}"),
        ("{doi", "can't be read"),
        ("doi", "names no field"),
        ("", "names no field"),
    ],
)
def test_templates_that_are_more_than_text_and_fields_are_refused(
    template: str, complaint: str
) -> None:
    with pytest.raises(InvalidTemplate) as refusal:
        check_templates(["{doi}", template])
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_model_without_templates_is_refused() -> None:
    with pytest.raises(InvalidTemplate, match="at least one"):
        check_templates([])


def test_a_manifest_with_a_bad_template_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValidationError, match="asks for"):
        ModelVersion(
            version="0" * 64,
            name="base",
            dimension=384,
            max_tokens=256,
            templates=("{doi.__class__}",),
            files={},
        )


def test_names_carry_the_alias_and_the_version() -> None:
    version = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert collection_name("dois", version) == "dois-53aa51172d142c89"
    assert guard_alias("dois", version) == "dois@53aa51172d142c89"


@pytest.mark.parametrize(
    "name",
    [
        "dois",
        "dois-",
        "dois-53aa",
        "dois-53aa51172d142c8",
        "dois-53aa51172d142c899",
        "dois-53AA51172D142C89",
        "dois-53aa51172d142c8g",
        "dois-x-53aa51172d142c89",
        "xdois-53aa51172d142c89",
        "dois@53aa51172d142c89",
        "53aa51172d142c89",
        "",
    ],
)
def test_a_version_is_taken_from_a_name_that_is_exactly_ours(name: str) -> None:
    assert version_prefix("dois", "dois-53aa51172d142c89") == "53aa51172d142c89"
    assert version_prefix("dois", name) is None
