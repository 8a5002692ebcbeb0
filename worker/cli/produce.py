"""Sources into a job: begun before there is one, so that what never opened leaves none."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

from schemas.document import Document
from schemas.job import Job, Rejection
from worker.bootstrap import Client
from worker.cli.progress import Bar
from worker.errors import Interrupted, SourceError
from worker.ingest.producer import Hooks
from worker.settings.ingest import LimitSettings
from worker.sources.options import SourceOptions
from worker.sources.records import identity, read
from worker.sources.report import Report
from worker.sources.streams import STANDARD_INPUT, source_name

Record = Document | Rejection
Records = Iterator[Record]


class Watcher(Protocol):
    """Who looks at the job while it is produced."""

    def glance(self, _: object = None) -> None:
        """Something was accepted."""

    def wait(self, pause_s: float) -> None:
        """Pass the time while the producer holds."""


class Producing:
    """The sources of one job, and how far they are read."""

    def __init__(
        self, names: Sequence[str], *, options: SourceOptions, limits: LimitSettings
    ) -> None:
        self._names = names
        self._options = options
        self._limits = limits
        self._report = Report()
        self._begun: Records | None = None
        self._accepted = 0
        self._bytes = _bytes_of(names)
        self.identity = identity(names, options)

    def begin(self) -> None:
        """Read the first record; raises `SourceError` where no source gives any.

        What comes on standard input may be long in coming, and has its job before.
        """
        found = self._read()
        if STANDARD_INPUT in self._names:
            self._begun = found
            return
        first = next(found, None)
        self._begun = chain(() if first is None else (first,), found)

    def open(self, client: Client) -> Job:
        """Open a job for them, or the one that was left open for them as they are."""
        label = ", ".join(source_name(name) for name in self._names)
        return client.producer.open(source=label, identity=self.identity)

    def queue(
        self,
        client: Client,
        job: Job,
        *,
        rejects: Path | None,
        watch: Watcher,
        is_worked: Callable[[Client], bool],
    ) -> SourceError | None:
        """Take them into a job; gives back what one broke off with.

        What is rejected goes to the file `rejects`, a JSON line each.
        """

        def accepted(count: int) -> None:
            self._accepted = count
            watch.glance()

        with rejects.open("w", encoding="utf-8") if rejects else nullcontext() as file:
            hooks = Hooks(
                rejected=_writer(file),
                accepted=accepted,
                wait=watch.wait,
                bounded=lambda: is_worked(client),
            )
            try:
                client.producer.fill(job, self._records, hooks=hooks, report=self._report)
            except SourceError as error:
                return error
            except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM
                if STANDARD_INPUT in self._names:
                    raise _cancelled(client, job) from None
                raise
            return None

    def expected(self) -> int | None:
        """How many records they give in all, by the bytes read so far; None where that is open."""
        read = self._report.bytes_read
        if not (self._bytes and read and self._accepted):
            return None
        return round(self._accepted * max(1.0, self._bytes / read))

    @property
    def accepted(self) -> int:
        """How many records were accepted so far."""
        return self._accepted

    def _records(self) -> Records:
        begun, self._begun = self._begun, None
        return begun or self._read()

    def _read(self) -> Records:
        self._report.clear()
        reading = partial(read, limits=self._limits, options=self._options, report=self._report)
        return _all(self._names, reading)


class Holding:
    """Shows a producer that nobody works for, and says when it holds for others."""

    def __init__(self, sources: Producing, bar: Bar) -> None:
        self._sources = sources
        self._bar = bar

    def glance(self, _: object = None) -> None:
        """Something was accepted."""
        self._bar.show(self._sources.accepted, self._sources.expected(), about=True)

    def wait(self, pause_s: float) -> None:
        """Pass the time while the producer holds."""
        words = "holding until workers have settled some"
        self._bar.show(self._sources.accepted, self._sources.expected(), about=True, words=words)
        time.sleep(pause_s)


def _all(names: Sequence[str], reading: Callable[[str], Records]) -> Records:
    """The records of all sources; where some break off, that is raised behind the last one."""
    failures = []
    for name in names:
        try:
            yield from reading(name)
        except SourceError as error:
            failures.append(str(error))
    if failures:
        raise SourceError("; ".join(failures))


def _cancelled(client: Client, job: Job) -> Interrupted:
    """Give up a job that can't be produced again; what workers have in hand still settles."""
    count = client.ledger.cancel(job.id)
    return Interrupted(
        f"interrupted; standard input can't be read again, so the {count:,} records of job "
        f"{job.id} that no worker had taken are cancelled"
    )


def _bytes_of(names: Sequence[str]) -> int:
    """The bytes of files; 0 where one is standard input, or can't be asked."""
    with suppress(OSError):
        return 0 if STANDARD_INPUT in names else sum(Path(name).stat().st_size for name in names)
    return 0


def _writer(file: IO[str] | None) -> Callable[[Rejection], None]:
    def write(rejection: Rejection) -> None:
        if file:
            file.write(json.dumps(rejection._asdict(), ensure_ascii=False) + "\n")

    return write
