"""Bringing titles to records that came without: what the live collection lacks, looked up."""

import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain
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
    """DOIs in a temporary file, read as often as wanted; it goes with the context."""

    def __init__(self, dois: Iterable[str]) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see __exit__
        self.count = 0
        for doi in dois:
            self._file.write(f"{doi}\n")
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

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        for line in self._file:
            yield line.removesuffix("\n")


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
        check: Callable[[], None],
    ) -> None:
        self._check = check
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
                return Spool(contents.lacking(self._wanted))
        except Unanswerable:  # nothing is ingested yet
            return Spool(())

    def begin(self, dois: Iterable[str]) -> Begun | None:
        """Look DOIs up until something is found for one; None where nothing is for any."""
        found = self._documents(dois)
        first = next(found, None)
        if first is None:
            return None
        passes = iter([chain([first], found)])
        return Begun(
            self._producer.open(source=SOURCE),
            lambda: next(passes, None) or self._documents(dois),
        )

    def _documents(self, dois: Iterable[str]) -> Iterator[Document]:
        for document in self._resolver.documents(dois):
            key = hash((document.doi, document.content_hash))
            if key not in self._queued:
                self._check()
                self._found.add(key)
                yield document
