"""A deployment as other programs use it: they queue DOIs, and ask for similar ones."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.search import Filter, Hit
from worker.errors import Unanswerable
from worker.settings.environment import Settings, read_settings


def enqueue(
    dois: Iterable[str | Mapping[str, Any]],
    *,
    job: str | None = None,
    settings: Settings | None = None,
) -> str:
    """Queue DOIs, or mappings with a `doi` and metadata, as one job; returns its id.

    Reads the settings from the environment unless they are given. Repeated under the same
    `job`, it is the same job; another list under its name raises `JobConflict`. Raises besides
    `ConfigurationError`, `LedgerUnavailable`, `LedgerRejected`, `JobCancelled`, and `StoreBusy`
    where another command has the data directory.
    """
    from worker.bootstrap import connect  # noqa: PLC0415 - takes most of a second

    with connect(settings or read_settings()) as client:
        return client.producer.enqueue(dois, job=job)


def search(  # noqa: PLR0913 - each is a word of the question
    doi: str | None = None,
    *,
    text: str | None = None,
    k: int = 10,
    registrant: str | None = None,
    venue: str | None = None,
    year: int | str | None = None,
    all_kinds: bool = False,
    settings: Settings | None = None,
) -> list[Hit]:
    """The `k` records nearest to a DOI (itself left out) or to a text, best first.

    A text is compared with vectors that were made of text, a DOI with vectors of its own kind
    (text, or the DOI's string); either with all of them where `all_kinds`. `registrant` keeps only
    DOIs of that prefix, `venue` records of exactly that venue, `year` those of a year or of a span
    such as `2015-2020`, `2015-` or `-2020`. Opens the store and closes it again. Raises
    `InvalidDoi`, `Unanswerable`, `ConfigurationError`, `StoreUnavailable`, `StoreRejected`,
    `StoreBusy`, `ModelError`, `EmbeddingError`, `OutOfMemory`.
    """
    from worker.bootstrap import open_searcher  # noqa: PLC0415 - as above

    try:
        only = Filter.read(registrant=registrant, venue=venue, year=year)
    except ValueError as error:
        raise Unanswerable(str(error)) from error
    with open_searcher(settings or read_settings()) as searcher:
        return searcher.search(doi, text=text, k=k, only=only, all_kinds=all_kinds)
