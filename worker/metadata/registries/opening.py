"""The registries that the settings name, opened."""

from collections.abc import Callable

from worker.errors import ConfigurationError
from worker.metadata.answers import SOURCES, Registry
from worker.metadata.registries.agency import AgenciesKept, open_agencies
from worker.metadata.registries.client import FIRST_PAUSE_S
from worker.metadata.registries.crossref import open_crossref
from worker.metadata.registries.datacite import open_datacite
from worker.metadata.registries.openalex import Budget, open_openalex
from worker.settings.metadata import MetadataSettings


def open_registries(
    settings: MetadataSettings,
    *,
    budget: Budget,
    agencies: AgenciesKept,
    first_pause_s: float = FIRST_PAUSE_S,
) -> list[Registry]:
    """The registries of `settings.sources`, the most trusted first; nothing is asked yet.

    `budget` is OpenAlex's, `agencies` keeps the agency of each prefix, and `first_pause_s` is how
    long is waited before a first further try. Raises `ConfigurationError` without a mailto.
    """
    if not settings.sources:
        return []
    mailto = settings.mailto
    if mailto is None:
        raise ConfigurationError(
            "DOIVEC_METADATA__MAILTO is needed: the registries want to know whom they can write to"
        )
    opened: dict[str, Callable[[], Registry]] = {
        "crossref": lambda: open_crossref(settings, mailto=mailto, first_pause_s=first_pause_s),
        "openalex": lambda: open_openalex(
            settings, mailto=mailto, budget=budget, first_pause_s=first_pause_s
        ),
        "datacite": lambda: open_datacite(settings, mailto=mailto, first_pause_s=first_pause_s),
        "agency": lambda: open_agencies(
            settings, mailto=mailto, agencies=agencies, first_pause_s=first_pause_s
        ),
    }
    return [opened[name]() for name in SOURCES if name in settings.sources]
