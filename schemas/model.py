"""What a model version is, how it reads a record, and the names that carry it."""

import re
from collections.abc import Sequence
from functools import lru_cache
from string import Formatter

from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.document import METADATA_FIELDS, Document

VERSION_CHARACTERS = 16
HEXADECIMAL = re.compile(f"[0-9a-f]{{{VERSION_CHARACTERS}}}")
FIELDS = ("doi", *METADATA_FIELDS)
TEXT_CHARACTERS, WORD_CHARACTERS = 32 * 1024, 256
LAST_WORD = re.compile(r"\s\S*\Z")


class InvalidTemplate(ValueError):
    """A text template that asks for something else than a record's fields."""


class Canary(BaseModel):
    """A fixed text and its vector at registration: float32, little-endian, in base64."""

    model_config = ConfigDict(frozen=True)

    text: str
    vector: str


class ModelVersion(BaseModel):
    """The manifest of a model version: all that decides a vector, and its canaries.

    `version` is a SHA-256 (64 hexadecimal characters) over the templates and the content of the
    deciding files; `files` has the SHA-256 of each file's bytes, by its path in the directory,
    `notes` that of files which decide no vector, but say how the version came to be.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    name: str
    dimension: int
    max_tokens: int
    templates: tuple[str, ...]
    files: dict[str, str] = Field(min_length=1)
    canaries: tuple[Canary, ...] = ()
    notes: dict[str, str] = Field(default_factory=dict)

    @field_validator("templates")
    @classmethod
    def _templates_are_valid(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        return check_templates(templates)

    @field_validator("files", "notes")
    @classmethod
    def _names_lie_within(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            if not name.isprintable() or not {"", ".", ".."}.isdisjoint(name.split("/")):
                raise ValueError(f"{name!r} is no file of the version")
        return files


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates, if each is made of text and `{field}`; raises `InvalidTemplate`."""
    if not templates:
        raise InvalidTemplate("a model needs at least one text template, such as '{doi}'")
    for template in templates:
        _check(template)
    return tuple(templates)


def render(document: Document, templates: Sequence[str]) -> str | None:
    """The text that a model reads of a document, by the first template whose fields it has.

    A long one is cut, see `shorten`. None where no template applies: the document has not the
    metadata that the model needs.
    """
    template = _applying(document, templates)
    return template and shorten(template.format(**_values(document, template)))


def shorten(text: str) -> str:
    """The text, or of one beyond `TEXT_CHARACTERS` its first words.

    That is far more than a model reads, so the vector stays what it is; a tokenizer would go
    through all of it. What has no blank for long (Chinese, say) is cut between two characters.
    """
    if len(text) <= TEXT_CHARACTERS:
        return text
    kept = text[: TEXT_CHARACTERS + 1]
    last = LAST_WORD.search(kept, TEXT_CHARACTERS - WORD_CHARACTERS)
    return kept[: last.start() if last else TEXT_CHARACTERS].rstrip()


def text_from(document: Document, templates: Sequence[str]) -> str | None:
    """What `render` makes its text of, in the template's order: `title`, `doi`, `title+abstract`.

    None where no template applies.
    """
    template = _applying(document, templates)
    return template and "+".join(dict.fromkeys(fields_of(template)))


@lru_cache
def fields_of(template: str) -> tuple[str, ...]:
    """The fields of a record that a template names."""
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def collection_name(alias: str, version: str) -> str:
    """The collection that holds the vectors of `version` behind `alias`."""
    return f"{alias}-{version[:VERSION_CHARACTERS]}"


def version_prefix(alias: str, collection: str) -> str | None:
    """The first characters of the version in a collection's name.

    None where the name isn't exactly as `collection_name` makes it: then doivec didn't make it.
    """
    prefix = collection[-VERSION_CHARACTERS:]
    is_ours = collection == f"{alias}-{prefix}" and HEXADECIMAL.fullmatch(prefix)
    return prefix if is_ours else None


def guard_alias(alias: str, version: str) -> str:
    """The second alias of the live collection, by which a switch is compare-and-set."""
    return f"{alias}@{version[:VERSION_CHARACTERS]}"


def _applying(document: Document, templates: Sequence[str]) -> str | None:
    for template in templates:
        values = (getattr(document, name) for name in fields_of(template))
        if all(value is not None and str(value).strip() for value in values):
            return template
    return None


def _values(document: Document, template: str) -> dict[str, object]:
    return {name: getattr(document, name) for name in fields_of(template)}


def _check(template: str) -> None:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InvalidTemplate(f"the template {template!r} can't be read: {error}") from error
    fields = [part for part in parts if part[1] is not None]
    if not fields:
        raise InvalidTemplate(f"the template {template!r} names no field: {_known()}")
    for _, name, spec, conversion in fields:
        if name not in FIELDS:
            raise InvalidTemplate(f"the template {template!r} asks for {{{name}}}; {_known()}")
        if spec or conversion:
            raise InvalidTemplate(f"the template {template!r} formats {{{name}}}; write it plainly")


def _known() -> str:
    return "the fields are " + ", ".join(f"{{{name}}}" for name in FIELDS)
