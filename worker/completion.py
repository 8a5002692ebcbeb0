"""Bringing titles to records that came without: what the live collection lacks, looked up."""

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from schemas.document import Document
from schemas.job import Job
from worker.contents import Contents
from worker.errors import Unanswerable
from worker.ingest.producer import Producer
from worker.metadata.resolver import Resolver

SOURCE = "what was looked up"  # as the jobs are called
AGAIN_S = 3600.0


class Spool:
    """DOIs, each with the fields that its record has, in a temporary file.

    It is read as often as wanted, and goes with the context.
    """

    def __init__(self, records: Iterable[tuple[str, Sequence[str]]], *, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Not in /tmp, which in a container is memory.
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)  # noqa: SIM115
        self.count = 0
        for doi, fields in records:
            self._file.write(json.dumps([doi, *fields]) + "\n")
            self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[tuple[str, frozenset[str]]]:
        self._file.seek(0)
        for line in self._file:
            doi, *fields = json.loads(line)
            yield doi, frozenset(fields)


class Begun(NamedTuple):
    """A job, open, and what it is to be filled with, see `Producer.fill`: looked up as it goes."""

    job: Job
    records: Callable[[], Iterator[Document]]


class Completion:
    """Looks up what records of the live collection lack, and queues what was found, as a job.

    The store is open only while it is surveyed: an embedded one belongs to the worker then.
    What was queued is not queued again for an hour: a record that it can't complete (a dead
    letter, a cancelled job) would be queued for ever.
    """

    def __init__(
        self,
        resolver: Resolver,
        producer: Producer,
        *,
        contents: Callable[[], AbstractContextManager[Contents]],
        wanted: Collection[str],
        folder: Path,
    ) -> None:
        self._folder = folder
        self._resolver = resolver
        self._producer = producer
        self._contents = contents
        self._wanted = wanted
        self._queued: dict[int, float] = {}
        self._found: set[int] = set()

    def survey(self) -> Spool:
        """The DOIs of the live collection's records that lack what is wanted."""
        now = time.monotonic()
        known = {**self._queued, **dict.fromkeys(self._found, now)}
        self._queued = {key: at for key, at in known.items() if now - at < AGAIN_S}
        self._found = set()
        try:
            with self._contents() as contents:
                return Spool(contents.lacking(self._wanted), folder=self._folder)
        except Unanswerable:  # nothing is ingested yet
            return Spool((), folder=self._folder)

    def begin(self, lacking: Spool, *, check: Callable[[], None]) -> Begun | None:
        """Look DOIs up until something is found for one; None where nothing is for any.

        Of a record only what it lacks is queued. `check` is called now and then, and may raise.
        """
        found = self._documents(lacking, check)
        first = next(found, None)
        if first is None:
            return None
        passes = iter([chain([first], found)])
        return Begun(
            self._producer.open(source=SOURCE),
            lambda: next(passes, None) or self._documents(lacking, check),
        )

    def _documents(self, lacking: Spool, check: Callable[[], None]) -> Iterator[Document]:
        known: dict[str, frozenset[str]] = {}

        def dois() -> Iterator[str]:
            for doi, fields in lacking:
                known[doi] = fields
                yield doi

        for page in self._resolver.resolve(dois()):
            check()
            for doi in page.dois:
                fields = known.pop(doi)
                if doi in page.found and (new := _new(page.found[doi], fields)):
                    yield from self._once(new)

    def _once(self, document: Document) -> Iterator[Document]:
        key = hash((document.doi, document.content_hash))
        if key not in self._queued:
            self._found.add(key)
            yield document


def _new(found: Sequence[Document], fields: frozenset[str]) -> Document | None:
    """What was found of a record, and it lacks, signed by its sources; None where nothing is."""
    first, *others = found
    document = first.supplemented(others)
    document = document.model_copy(update=dict.fromkeys(fields))
    return None if document.is_bare else document
