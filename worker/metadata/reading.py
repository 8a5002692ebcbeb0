"""One process's part of indexing: files of snapshots into runs, of what is wanted of them."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from schemas.job import Rejection
from worker.errors import NoRecord, SourceError
from worker.metadata.answers import Answer
from worker.metadata.bodies import Key, Packer
from worker.metadata.entries import Dictionary, File
from worker.metadata.index import position
from worker.metadata.runs import RunWriter
from worker.metadata.snapshots import Part, in_a_file, records
from worker.settings.ingest import LimitSettings

SAY_EVERY = 2_000  # records
SHOWN_REJECTIONS = 5
Say = Callable[[Any], None]


class Plan(NamedTuple):
    """What all processes go by.

    `folder` takes runs and what is unpacked; `only` is a file of the keys that are wanted, sorted;
    `scope` says in words what of a file is kept.
    """

    folder: Path
    dictionary: Dictionary
    abstracts: bool
    only: Path | None
    scope: str
    limits: LimitSettings
    now: float


class Read(NamedTuple):
    """Some records were read."""

    records: int


class Outcome(NamedTuple):
    """What became of a file.

    Of its records `kept` are in the index now; the others had no DOI (or none that a source would
    call its own), said nothing, weren't wanted, or were rejected. `trouble` is why it couldn't be
    read to its end, `passed` why it has no use.
    """

    part: Part
    read: int = 0
    kept: int = 0
    without_doi: int = 0
    bare: int = 0
    unwanted: int = 0
    rejected: int = 0
    rejections: tuple[Rejection, ...] = ()
    trouble: str = ""
    passed: str = ""


def reader(plan: Plan) -> Callable[[list[Part], Say], None]:
    """What reads parts by a plan: it says `Read` now and then, and the `Outcome` of each.

    When it returns, the parts without trouble are on disk, as runs. Raises OSError for these.
    """
    packer = Packer(plan.dictionary.number, plan.dictionary.bytes)
    only = np.load(plan.only, mmap_mode="r") if plan.only else None
    return partial(_read_all, plan=plan, packer=packer, only=only)


def _read_all(parts: list[Part], say: Say, *, plan: Plan, packer: Packer, only: Any) -> None:
    runs = RunWriter(plan.folder)
    outcomes = []
    for part in parts:
        with in_a_file(part, folder=plan.folder) as path:
            reading = _Reading(part, plan, packer=packer, only=only)
            outcomes.append(reading.read(path, runs, say))
    runs.write(_file(outcome, plan) for outcome in outcomes if not outcome.trouble)
    for outcome in outcomes:
        say(outcome)


def _file(outcome: Outcome, plan: Plan) -> File:
    name, size, mtime_ns, *_ = outcome.part
    return File(name, plan.scope, size, mtime_ns, outcome.kept, int(plan.now))


class _Reading:
    """Reads one part, and counts what its records are."""

    def __init__(self, part: Part, plan: Plan, *, packer: Packer, only: Any) -> None:
        self._part = part
        self._plan = plan
        self._packer = packer
        self._only = only
        self._counts = dict.fromkeys(("read", "kept", "without_doi", "bare", "unwanted"), 0)
        self._rejected = 0
        self._rejections: list[Rejection] = []

    def read(self, path: Path, runs: RunWriter, say: Say) -> Outcome:
        """Read it to its end, or to where it is damaged."""
        trouble = passed = ""
        try:
            for found in self._records(path, say):
                self._counts[self._take(found, runs)] += 1
        except NoRecord as error:
            passed = str(error)
        except (SourceError, OSError) as error:
            trouble = str(error)
        return Outcome(
            self._part,
            **self._counts,
            rejected=self._rejected,
            rejections=tuple(self._rejections),
            trouble=trouble,
            passed=passed,
        )

    def _records(self, path: Path, say: Say) -> Iterator[Answer | None]:
        mtime_s = self._part.mtime_ns // 10**9
        said = 0
        for found in records(path, mtime_s=mtime_s, limits=self._plan.limits):
            self._counts["read"] += 1
            if (done := self._counts["read"]) - said >= SAY_EVERY:
                say(Read(done - said))
                said = done
            if isinstance(found, Rejection):
                self._reject(found)
            else:
                yield found
        say(Read(self._counts["read"] - said))

    def _reject(self, found: Rejection) -> None:
        self._rejected += 1
        if len(self._rejections) < SHOWN_REJECTIONS:
            self._rejections.append(found._replace(source=self._part.name))

    def _take(self, answer: Answer | None, runs: RunWriter) -> str:
        """Keep an answer where it is wanted; gives back as what it counts."""
        if answer is None:
            return "without_doi"
        document = answer.document
        if document.is_bare and document.source == "file":
            return "bare"  # a list of DOIs; a registry's record without fields says there is none
        key = Key.of(document.doi)
        if not self._wants(key):
            return "unwanted"
        body = self._packer.body(key, document, abstract=self._plan.abstracts)
        runs.add(position(key, document.source), answer.dated, body)
        return "kept"

    def _wants(self, key: Key) -> bool:
        if self._only is None:
            return True
        at = int(np.searchsorted(self._only, key.hash))
        return at < len(self._only) and int(self._only[at]) == key.hash
