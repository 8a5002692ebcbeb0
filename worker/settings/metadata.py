"""Who is asked for titles."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)
from pydantic_settings import NoDecode

from worker.addresses import registry_url
from worker.settings.servers import HeaderKey
from worker.settings.slices import Slice


def _mailto(address: str) -> str:
    # A header can't hold other characters.
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", address):
        raise ValueError("an e-mail address of visible ASCII characters is expected")
    return address


RegistryUrl = Annotated[str, AfterValidator(registry_url)]


def _listed(value: Any) -> Any:
    """A list as people write one: `crossref, openalex`; or JSON."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()


Want = Literal["title", "abstract"]
Live = Literal["crossref", "openalex", "datacite", "agency"]


class MetadataSettings(Slice):
    """Where titles, abstracts, years and venues of bare DOIs are looked up."""

    sources: Annotated[tuple[Live, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="registries that may be asked over the network, such as `crossref,openalex`; "
        "without any, only the local index is",
    )
    mailto: Annotated[str, AfterValidator(_mailto)] | None = Field(
        default=None,
        description="your e-mail address, by which the registries reach whoever asks them; "
        "required for each of them",
    )
    want: Want = Field(
        default="title",
        description="what a record must lack to be looked up: a title, or an abstract, too",
    )
    index: Path | None = Field(
        default=None,
        description="the local index, a file; without it, `metadata.sqlite` in the data directory",
    )
    crossref_url: RegistryUrl = Field(
        default="https://api.crossref.org", description="Crossref, a mirror"
    )
    crossref_token: HeaderKey | None = Field(
        default=None, description="the token of a Crossref Metadata Plus subscription"
    )
    openalex_url: RegistryUrl = Field(default="https://api.openalex.org", description="OpenAlex")
    openalex_key: HeaderKey | None = Field(
        default=None,
        description="an OpenAlex API key; without one, its free budget a day is smaller",
    )
    openalex_usd_a_day: float = Field(
        default=0.1,
        ge=0,
        description="what OpenAlex may cost in a day (UTC), in US dollars; with 0, each DOI is "
        "looked up alone, which costs nothing and takes longer",
    )
    datacite_url: RegistryUrl = Field(
        default="https://api.datacite.org", description="DataCite, a mirror"
    )
    doi_url: RegistryUrl = Field(
        default="https://doi.org", description="the resolver of DOIs, which knows their agencies"
    )
    timeout_s: float = Field(default=30.0, gt=0, description="deadline of one call, in seconds")
    found_days: float = Field(
        default=365.0,
        gt=0,
        description="one that was found without a title is looked up again after so long",
    )
    absent_days: float = Field(
        default=30.0, gt=0, description="one that wasn't, after so long, a fifth more or less"
    )
    young_absent_days: float = Field(
        default=7.0,
        gt=0,
        description="the same for DOIs that hold this year or the last one, so are new perhaps",
    )
    pause_s: float = Field(
        default=300.0,
        gt=0,
        description="pause of `metadata run` after a pass that found nothing to do, in seconds",
    )
