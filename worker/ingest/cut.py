"""A job's records cut into batches, in each of which a DOI stands once."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from schemas.document import Document

INSERT = "INSERT OR IGNORE INTO seen VALUES (?, ?)"
CHANGE = "UPDATE seen SET said = ?1 WHERE key = ?2 AND said IS NOT ?1"


class News(Enum):
    """What a record says, after those before it."""

    FIRST = "a DOI that the job didn't have"
    MORE = "something else of a DOI than the record before it"
    NOTHING = "the same again"


class Seen:
    """The DOIs that a job holds already: exact, in memory at first, then spilled to disk.

    SQLite keeps a database without a name in its page cache and, past that, in a temporary
    file that goes with the connection.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA cache_size = -65536")  # KiB
        self._db.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, document: Document) -> News:
        """What `document` says that is new; it is known from then on."""
        # 128 bits: among 150 million DOIs, two that collide are rarer than 1 in 10**22.
        key = blake2b(document.doi.encode(), digest_size=16).digest()
        said = None if document.is_bare else bytes.fromhex(document.content_hash)
        if self._db.execute(INSERT, (key, said)).rowcount == 1:
            return News.FIRST
        if said and self._db.execute(CHANGE, (said, key)).rowcount == 1:
            return News.MORE
        return News.NOTHING

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


class Cut(NamedTuple):
    """Documents by DOI, and those DOIs of which an earlier batch has something, too."""

    documents: dict[str, Document]
    again: set[str]


def cut(
    records: Iterable[Document], *, seen: Seen, size: int, repeated: Callable[[], None]
) -> Iterator[Cut]:
    """Cut records into batches of `size`; what a batch has twice is merged, the later one counts.

    `repeated` is called for each record that was merged, or says nothing new.
    """
    batch = Cut({}, set())
    for record in records:
        news, there = seen.add(record), batch.documents.get(record.doi)
        if news is News.NOTHING:
            repeated()
        elif there and there.source == record.source:
            repeated()
            batch.documents[record.doi] = record.supplemented([there])
        else:
            if there or len(batch.documents) == size:
                yield batch
                batch = Cut({}, set())
            batch.documents[record.doi] = record
            if news is News.MORE:
                batch.again.add(record.doi)
    if batch.documents:
        yield batch
