"""Lists that a command is given: as arguments, in files, on standard input."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from schemas.document import Document
from schemas.doi import normalize
from schemas.job import Rejection
from worker.cli import console
from worker.errors import SourceError
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.parsing import attempt
from worker.sources.records import read
from worker.sources.streams import STANDARD_INPUT


class Rejected:
    """What was no record among what was read: how much, and the first few."""

    def __init__(self) -> None:
        self._first: list[Rejection] = []
        self.count = 0

    def __call__(self, rejection: Rejection) -> None:
        """One more."""
        self.count += 1
        if len(self._first) < console.SHOWN_REJECTIONS:
            self._first.append(rejection)

    def tell(self) -> None:
        """Say what was rejected: the first few, and how many more."""
        for rejection in self._first:
            console.print_rejection(rejection)
        if more := self.count - len(self._first):
            console.say(f"… and {more:,} more rejected", err=True)


class Lists:
    """The records of sources, read when asked for; what is no record goes to `rejected`."""

    def __init__(
        self, sources: Sequence[str], *, limits: LimitSettings, options: SourceOptions
    ) -> None:
        self._sources = sources
        self._limits = limits
        self._options = options
        self.rejected = Rejected()

    def __iter__(self) -> Iterator[Document]:
        for source in self._sources:
            for record in read(source, limits=self._limits, options=self._options):
                if isinstance(record, Document):
                    yield record
                else:
                    self.rejected(record)


class Dois:
    """The canonical DOIs of some arguments, read when asked for, and what was read so far.

    An argument is a source where there is a file of that name, or `-`; else it is a DOI. `options`
    say how sources are to be read. Raises `SourceError` at once for one that is neither.
    """

    def __init__(
        self, arguments: Sequence[str], *, limits: LimitSettings, options: SourceOptions
    ) -> None:
        self._limits = limits
        self._options = options
        self._named = [(a, None if _is_source(a) else _doi(a)) for a in arguments]
        self.count = 0
        self.rejected = Rejected()

    def __iter__(self) -> Iterator[str]:
        for argument, doi in self._named:
            if doi is not None:
                self.count += 1
                yield doi
            else:
                yield from self._read(argument)

    def _read(self, source: str) -> Iterator[str]:
        for record in read(source, limits=self._limits, options=self._options):
            if isinstance(record, Rejection):
                self.rejected(record)
            else:
                self.count += 1
                yield record.doi


def _is_source(argument: str) -> bool:
    with suppress(OSError, ValueError):  # a name that is too long, or holds a NUL
        return argument == STANDARD_INPUT or Path(argument).exists()
    return False


def _doi(argument: str) -> str:
    try:
        return attempt(normalize, argument)
    except ValueError as error:
        raise SourceError(f"{argument!r} is neither a file nor a DOI: {error}") from error
