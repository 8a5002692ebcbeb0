"""Snapshots into the index: which files are new, who reads them, and the merge at the end.

What was read is on disk as runs beside the index, which name the files that they complete; so a
run that was killed goes on with the others. The records are seen in the index when all is merged.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

import numpy as np

from worker.errors import IndexUnavailable, SourceError
from worker.files import locked, write_text
from worker.metadata import bodies
from worker.metadata.answers import Answer
from worker.metadata.crew import side_by_side
from worker.metadata.entries import File
from worker.metadata.index import Index
from worker.metadata.reading import Outcome, Plan, Read, reader
from worker.metadata.runs import SUFFIX, RunWriter, merge, runs
from worker.metadata.snapshots import WITHIN, Part, in_a_file, is_archive, listing, parts, records
from worker.settings.ingest import LimitSettings
from worker.sources.streams import source_name

GROUP_BYTES = 16 * 2**20  # of input; a file of Crossref's has 5
GROUPS_A_JOB = 4
SAMPLED_FILES = 8
ALL = "all"
LOCK, ONLY = "indexing.lock", "only.npy"
MARK = "index"  # says of which index the runs are: their dictionary is in it


class Options(NamedTuple):
    """What is kept (where `only` is given, of these DOIs alone), and how many processes read."""

    abstracts: bool = True
    only: Iterable[str] | None = None
    jobs: int = 1


class Progress(NamedTuple):
    """Where indexing stands: what it is at, how much of that is done (bytes of files, or records).

    `records` are those read so far.
    """

    step: str
    done: int
    total: int
    records: int


class Summary(NamedTuple):
    """What became of files: of those that were read, and how many were done before.

    `passed` are files below a folder that can't hold records, by their names.
    """

    outcomes: list[Outcome]
    before: int
    passed: list[Path]


Show = Callable[[Progress], None]


class Indexing:
    """Brings snapshots into an index."""

    def __init__(self, index: Index, *, limits: LimitSettings, now: float) -> None:
        self._index = index
        self._limits = limits
        self._now = now
        self._folder = index.path.with_name(f"{index.path.name}.runs").absolute()

    def run(self, sources: Sequence[str], options: Options, *, show: Show) -> Summary:
        """Index files and folders; `show` is told where that stands, once a second at least.

        What couldn't be read is told in the outcomes, and tried again next time. Raises
        `SourceError` for a source that is not there, `Busy` where another process indexes,
        `IndexUnavailable` and `IndexRejected`.
        """
        files, passed = listing(sources)
        try:
            with locked(self._folder / LOCK):
                self._tidy()
                search = self._search(files, options)
                self._read(search, options, show)
                self._merge(search, show)
                rmtree(self._folder)
        except OSError as error:
            raise IndexUnavailable(f"{self._folder}: {error.strerror or error}") from error
        return Summary(search.outcomes, search.before, passed)

    def is_unfinished(self) -> bool:
        """Whether a run was cut off: what it read isn't in the index yet."""
        return bool(runs(self._folder))

    def _tidy(self) -> None:
        """Remove what a run that was killed has left half done, or of an index that is gone."""
        mark, identity = self._folder / MARK, self._index.identity()
        is_ours = mark.exists() and mark.read_text() == identity
        for path in self._folder.iterdir():
            if path.name not in {LOCK, MARK} and not (is_ours and path.suffix == SUFFIX):
                path.unlink()
        write_text(mark, identity)

    def _search(self, files: Sequence[Path], options: Options) -> "_Search":
        scope = "" if options.abstracts else "without abstracts"
        if options.only is not None:
            hashes = (bodies.Key.of(doi).hash for doi in options.only)
            keys = np.fromiter(hashes, dtype=np.int64)  # eight bytes a DOI
            keys.sort()
            np.save(self._folder / ONLY, keys)
            scope = f"only {sha256(keys.data).hexdigest()[:16]} {scope}".strip()
        held = [file for run in runs(self._folder) for file in run.files]
        done = self._index.files() | {(file.path, file.scope): file for file in held}
        return _Search(files, self._folder, scope=scope or ALL, done=done)

    def _read(self, search: "_Search", options: Options, show: Show) -> None:
        size = min(GROUP_BYTES, search.total // (GROUPS_A_JOB * options.jobs))
        groups = _groups(search.parts(), size)
        if (first := next(groups, None)) is None:
            return
        only = self._folder / ONLY
        plan = Plan(
            folder=self._folder,
            dictionary=self._index.dictionary(self._samples(search.files)),
            abstracts=options.abstracts,
            only=only if only.exists() else None,
            scope=search.scope,
            limits=self._limits,
            now=self._now,
        )

        def hear(said: Any) -> None:
            search.hear(said)
            show(search.progress)

        tasks = chain([first], groups)
        side_by_side(partial(reader, plan), tasks, jobs=options.jobs, hear=hear)
        RunWriter(self._folder).write(search.archives(int(self._now)))

    def _samples(self, files: Sequence[Path]) -> list[bytes]:
        """Texts of records from here and there, to learn a dictionary of; none if there is one."""
        if self._index.learned() >= bodies.SAMPLES:
            return []
        step = max(1, len(files) // SAMPLED_FILES)
        each = bodies.SAMPLES // min(len(files), SAMPLED_FILES)
        found = (islice(self._texts(path), each) for path in files[::step])
        return list(islice(chain.from_iterable(found), bodies.SAMPLES))

    def _texts(self, path: Path) -> Iterator[bytes]:
        with suppress(SourceError):  # it is told when the file is read
            for part in islice(parts(path, folder=self._folder, wants=lambda _: True), 1):
                with in_a_file(part, folder=self._folder) as file:
                    found = records(file, mtime_s=0, limits=self._limits)
                    yield from (bodies.text(a.document) for a in found if isinstance(a, Answer))

    def _merge(self, search: "_Search", show: Show) -> None:
        found = runs(self._folder)
        total = sum(file.records for run in found for file in run.files)
        merged = 0
        for count in chain([0], merge(found, self._index.path, now=self._now)):
            merged += count
            show(Progress("merging", merged, max(merged, total), search.progress.records))


class _Search:
    """The parts of files that are not in the index yet, and what became of them."""

    def __init__(
        self,
        files: Sequence[Path],
        folder: Path,
        *,
        scope: str,
        done: dict[tuple[str, str], File],
    ) -> None:
        self.files = files
        self.scope = scope
        self.outcomes: list[Outcome] = []
        self.before = 0
        self.total = sum(path.stat().st_size for path in files)
        self._folder = folder
        self._done = done
        self._bytes = self._records = 0

    def parts(self) -> Iterator[Part]:
        """The parts to be read, one after the other; a damaged archive is an outcome."""
        for path in self.files:
            whole = _whole(path)
            if self._is_done(whole):
                self._pass_by(whole)
                continue
            try:
                yield from parts(path, folder=self._folder, wants=self._wants)
            except SourceError as error:
                self.outcomes.append(Outcome(whole, trouble=str(error)))

    def hear(self, said: Any) -> None:
        """Take note of what a process says."""
        if isinstance(said, Read):
            self._records += said.records
        elif isinstance(said, Outcome):
            self.outcomes.append(said)
            self._bytes += said.part.size

    @property
    def progress(self) -> Progress:
        """How far reading is."""
        return Progress("reading", min(self._bytes, self.total), self.total, self._records)

    def archives(self, now: int) -> list[File]:
        """The archives of which every member was read: they need not be unpacked again."""
        bad = [outcome.part.name for outcome in self.outcomes if outcome.trouble]
        return [
            File(whole.name, self.scope, whole.size, whole.mtime_ns, 0, now)
            for whole in (_whole(path) for path in self.files if is_archive(path))
            if not any(name == whole.name or name.startswith(whole.name + WITHIN) for name in bad)
        ]

    def _wants(self, part: Part) -> bool:
        if self._is_done(part):
            self._pass_by(part)
            return False
        return True

    def _pass_by(self, part: Part) -> None:
        self.before += 1
        self._bytes += part.size

    def _is_done(self, part: Part) -> bool:
        held = (self._done.get((part.name, scope)) for scope in (self.scope, ALL))
        return any(one and one[2:4] == (part.size, part.mtime_ns) for one in held)


def _whole(path: Path) -> Part:
    facts = path.stat()
    return Part(source_name(str(path)), facts.st_size, facts.st_mtime_ns, path)


def _groups(found: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Parts in groups of so many bytes: a process is given a group at once."""
    group: list[Part] = []
    for part in found:
        group.append(part)
        if sum(one.size for one in group) >= size:
            yield group
            group = []
    if group:
        yield group
