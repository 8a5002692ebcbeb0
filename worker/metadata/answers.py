"""What a source of metadata says of DOIs."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from schemas.document import Document

# Most trusted first: a field that an earlier one has is not taken from a later one.
SOURCES = ("file", "crossref", "openalex", "datacite", "agency")


class Answer(NamedTuple):
    """What a source says of one DOI.

    The document's `source` is the source's name. `dated` is when the source last changed its
    record, in Unix seconds; 0 where it doesn't say.
    """

    document: Document
    dated: int = 0


class Answers(NamedTuple):
    """What a source said of the DOIs that it was asked for: each is in one of the two, or neither.

    One that is in neither was not answered: it is asked again.
    """

    found: dict[str, Answer]
    absent: set[str]


class Registry(Protocol):
    """A source that is asked over the network.

    `name` is one of `SOURCES`, `most` how many DOIs it takes at once, `threads` how many may ask
    at once.
    """

    name: str
    most: int
    threads: int

    def ask(self, dois: Sequence[str]) -> Answers:
        """What it says of at most `most` canonical DOIs.

        It waits for its turn, and may be called from several threads.

        A record without a title of its own counts as found, its document without a title. Raises
        `RegistryBlocked` where it must not be asked until some time, `RegistryUnavailable` where
        it didn't answer (after retries), `RegistryRefused` where it will not.
        """

    def close(self) -> None:
        """Let go of connections."""
