"""The local index: of each DOI what each source of metadata said of it, and when that was.

One SQLite file that many processes read while one writes. A record in it is found by its DOI and
its source; only what is known of the DOIs asked for is read.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from schemas.document import Document
from worker.errors import IndexRejected
from worker.metadata import bodies, dictionaries
from worker.metadata.answers import SOURCES, Answers
from worker.metadata.bodies import Damaged, Key, Packer, Reader
from worker.metadata.database import WAIT_S, reading, writing
from worker.metadata.entries import NO_DICTIONARY, Counts, Dictionary, Entry, File

SOURCE_BITS = 3
ABSENT = -1  # in place of `dated`
SELECT = """
SELECT position.value, records.key & 7, dated, kept, until, body
FROM json_each(?) AS position JOIN records
ON records.key BETWEEN position.value AND position.value + 7
"""
HOLDING = """
SELECT records.key FROM json_each(?) AS position JOIN records ON records.key = position.value
WHERE until IS NULL OR until > ?
"""
# An older record leaves what is newer as it is, but was asked for at a later time.
KEEP = """
INSERT INTO records (key, dated, kept, until, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET kept = excluded.kept, until = excluded.until,
body = iif(excluded.dated >= dated, excluded.body, body), dated = max(excluded.dated, dated)
"""
REMEMBER = """
INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""


class Index:
    """The index in one file; every method may be called from any thread.

    Where there is no file it knows nothing, until something is kept. Where another process writes,
    it waits for `wait_s`. Each method raises
    `IndexRejected` for a file that is damaged, another program's or newer, and `IndexUnavailable`
    where it is locked, or its disk is full.
    """

    def __init__(self, path: Path, *, wait_s: float = WAIT_S) -> None:
        self.path = path
        self._reading = partial(reading, path, wait_s=wait_s)
        self._writing = partial(writing, path, wait_s=wait_s)
        self._own = threading.local()  # a decompressor is one thread's

    def find(self, dois: Sequence[str]) -> dict[str, list[Document]]:
        """Of each canonical DOI what its sources know, the most trusted first.

        A document's `source` is its source's name, and it has no field that one before it has. A
        DOI of which nothing is known is absent.
        """
        found: dict[str, list[Document]] = {}
        for doi, entries in self.entries(dois).items():
            if documents := _apart([entry.document for entry in entries if entry.document]):
                found[doi] = documents
        return found

    def entries(self, dois: Sequence[str]) -> dict[str, list[Entry]]:
        """All that is kept of each canonical DOI, the most trusted source first, the due too."""
        keys = {doi: Key.of(doi) for doi in dois}
        positions = {key.hash << SOURCE_BITS: doi for doi, key in keys.items()}
        found: dict[str, list[Entry]] = {}
        with self._reading() as db:
            rows = db.execute(SELECT, [_listed(positions)]).fetchall() if db else []
            reader = self._reader(db) if db and rows else Reader({})
        with self._told():
            for at, *row in rows:
                doi = positions[at]
                if entry := _entry(reader, doi, keys[doi], row):
                    found.setdefault(doi, []).append(entry)
        return found

    def to_ask(self, dois: Sequence[str], source: str, *, now: float) -> list[str]:
        """Those of which this source has said nothing, or what it said holds no longer."""
        positions = {doi: position(Key.of(doi), source) for doi in dict.fromkeys(dois)}
        with self._reading() as db:
            rows = db.execute(HOLDING, [_listed(positions.values()), now]) if db else ()
            held = {found for (found,) in rows}
        return [doi for doi, at in positions.items() if at not in held]

    def keep(
        self, source: str, answers: Answers, *, asked_at: float, until: Mapping[str, float]
    ) -> None:
        """Keep what a source said, and until when that holds, in Unix seconds; durable on return.

        A record that is older than the one that is there doesn't replace it, and that a source
        doesn't know a DOI any more doesn't erase what it said before; both hold anew.
        """
        with self._writing() as db:
            dictionary = dictionaries.latest(db)
            packer = Packer(dictionary.number, dictionary.bytes)
            before = _found(db)
            rows = list(_rows(source, answers, packer, kept=int(asked_at), until=until))
            db.executemany(KEEP, sorted(rows))
            due = before // bodies.FEWEST_SAMPLES < _found(db) // bodies.FEWEST_SAMPLES
            if due and dictionary == NO_DICTIONARY:
                with self._told():
                    dictionaries.learn(db, _texts(db))

    def forget(self, dois: Iterable[str]) -> int:
        """Remove all that is known of DOIs; returns of how many something was."""
        wanted = [Key.of(doi).hash << SOURCE_BITS for doi in dois]  # before others are locked out
        if not self.path.exists():
            return 0
        with self._writing() as db:
            gone = (
                db.execute("DELETE FROM records WHERE key BETWEEN ? AND ?", (first, first + 7))
                for first in wanted
            )
            return sum(done.rowcount > 0 for done in gone)

    def counts(self, *, now: float) -> dict[str, Counts]:
        """For each source how much is known of it."""
        with self._reading() as db:
            if not db:
                return {}
            due = dict(
                db.execute(
                    "SELECT key & 7, count(*) FROM records WHERE until <= ? AND dated < 0 "
                    "GROUP BY 1",
                    [now],
                ).fetchall()
            )
            rows = db.execute("SELECT source, found, absent FROM counts").fetchall()
        return {
            SOURCES[source]: Counts(found, absent, due.get(source, 0))
            for source, found, absent in rows
            if source < len(SOURCES)
        }

    def files(self) -> dict[tuple[str, str], File]:
        """The files of snapshots that are in the index, by their path and scope."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM files").fetchall() if db else ()
        return {(row[0], row[1]): File(*row) for row in rows}

    def size(self) -> int:
        """How many bytes it takes on disk."""
        return sum(path.stat().st_size for path in _present(self.path))

    def recall(self, *names: str) -> dict[str, Any]:
        """What was remembered under some names; those of which nothing was are absent."""
        with self._reading() as db:
            rows = (
                db.execute(
                    "SELECT key, value FROM state WHERE key IN (SELECT value FROM json_each(?))",
                    [json.dumps(names)],
                ).fetchall()
                if db
                else ()
            )
        return {name: json.loads(value) for name, value in rows}

    def remember(self, values: Mapping[str, Any]) -> None:
        """Keep values, of which JSON can be made, under names; durable on return."""
        with self._writing() as db:
            db.executemany(REMEMBER, [(name, json.dumps(value)) for name, value in values.items()])

    def identity(self) -> str:
        """What tells this index from another one that took its place; it is made if need be."""
        name = "identity"
        with self._writing() as db:
            db.execute(
                "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                [name, json.dumps(uuid4().hex)],
            )
        return str(self.recall(name)[name])

    def learned(self) -> int:
        """Of how many records the last dictionary was made; 0 without one."""
        with self._reading() as db:
            return dictionaries.latest(db).samples if db else 0

    def dictionary(self, samples: Sequence[bytes]) -> Dictionary:
        """The dictionary for new records: one made of these samples, unless the last had more."""
        with self._writing() as db:
            found = dictionaries.latest(db)
            if found.samples < min(len(samples), bodies.SAMPLES):
                dictionaries.learn(db, samples)
                found = dictionaries.latest(db)
        return found

    def _reader(self, db: sqlite3.Connection) -> Reader:
        """Reads with the dictionaries of the file that is open now."""
        digests = db.execute("SELECT number, digest FROM dictionaries ORDER BY 1").fetchall()
        if getattr(self._own, "digests", None) != digests:
            held = db.execute("SELECT number, bytes FROM dictionaries").fetchall()
            with self._told():
                self._own.reader = Reader(dictionaries.checked(dict(held), dict(digests)))
            self._own.digests = digests
        return cast(Reader, self._own.reader)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Damaged as error:
            raise IndexRejected(
                f"the index {self.path} is damaged ({error}): move it away, and index the "
                "snapshots again"
            ) from error


def position(key: Key, source: str) -> int:
    """Where the record of a source lies among all."""
    return key.hash << SOURCE_BITS | SOURCES.index(source)


def _entry(reader: Reader, doi: str, key: Key, row: Sequence[Any]) -> Entry | None:
    """What a row says of a DOI; None where it is another's. Raises `Damaged`."""
    source, dated, kept, until, body = row
    are_whole = all(type(value) is int for value in (dated, kept, until or 0))
    if not are_whole or type(body) is not bytes or source >= len(SOURCES):
        raise Damaged(f"a row of {doi} is not as it was written")
    if not bodies.is_of(body, key):
        return None
    name = SOURCES[source]
    found = reader.document(doi, body, source=name) if dated != ABSENT else None
    return Entry(name, found, dated, kept, until)


def _listed(positions: Iterable[int]) -> str:
    return json.dumps(sorted(positions))


def _apart(documents: Sequence[Document]) -> list[Document]:
    """Documents without the fields that one before has; those that have none left are dropped."""
    if len(documents) == 1:  # nearly always
        (one,) = documents
        return [one] if one.title or one.year or one.venue or one.abstract else []
    seen: set[str] = set()
    found = []
    for document in documents:
        if repeated := seen & document.metadata.keys():
            document = document.model_copy(update=dict.fromkeys(repeated))  # noqa: PLW2901
        seen |= document.metadata.keys()
        if not document.is_bare:
            found.append(document)
    return found


def _rows(
    source: str, answers: Answers, packer: Packer, *, kept: int, until: Mapping[str, float]
) -> Iterator[tuple[int, int, int, int, bytes]]:
    for doi, answer in answers.found.items():
        key = Key.of(doi)
        body = packer.body(key, answer.document)
        yield position(key, source), answer.dated, kept, int(until[doi]), body
    for doi in answers.absent:
        key = Key.of(doi)
        yield position(key, source), ABSENT, kept, int(until[doi]), bodies.nothing(key)


def _found(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT sum(found) FROM counts").fetchone()[0])


def _texts(db: sqlite3.Connection) -> list[bytes]:
    """The texts of records that were kept without a dictionary."""
    rows = db.execute("SELECT body FROM records WHERE dated >= 0 LIMIT ?", [bodies.SAMPLES])
    reader = Reader({})
    return [reader.text(body) for (body,) in rows]


def _present(path: Path) -> Iterator[Path]:
    names = (path.name, f"{path.name}-wal")
    return (found for name in names if (found := path.with_name(name)).exists())
