"""The file of the index: SQLite, opened for each use, and its errors as ours.

Each call opens the file and closes it: that costs 0.2 ms, works from any thread, and sees a file
that has come, gone or been replaced since.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from worker.errors import IndexRejected, IndexUnavailable

MAGIC = b"SQLite format 3\0"
APPLICATION = 0x646F6976  # "doiv"
VERSION = 1
NOT_YET = (0, 0, 0)  # the facts of a file that is just being made
CANNOT_WRITE = ("SQLITE_CANTOPEN", "SQLITE_READONLY")
WAIT_S = 30.0
CACHE_KIB = 32 * 1024
# One row for each source of a DOI: the 60 bits of its key, and three for the source. A table by a
# whole number takes 7 % less than one by a hash or the DOI, and is read in two thirds of the time.
# `dated` is -1 where the source doesn't know the DOI; `until` is null where that holds for good.
SCHEMA = """
CREATE TABLE records (
    key INTEGER PRIMARY KEY, dated INTEGER NOT NULL, kept INTEGER NOT NULL, until INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX due ON records (until) WHERE until IS NOT NULL;
CREATE TABLE counts (source INTEGER PRIMARY KEY, found INTEGER NOT NULL, absent INTEGER NOT NULL);
INSERT INTO counts SELECT value, 0, 0 FROM json_each('[0, 1, 2, 3, 4, 5, 6, 7]');
CREATE TABLE dictionaries (
    number INTEGER PRIMARY KEY, samples INTEGER NOT NULL, digest BLOB NOT NULL, bytes BLOB NOT NULL
);
CREATE TABLE files (
    path TEXT, scope TEXT, size INTEGER, mtime_ns INTEGER, records INTEGER, done INTEGER,
    PRIMARY KEY (path, scope)
);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TRIGGER counted AFTER INSERT ON records BEGIN
    UPDATE counts SET found = found + (new.dated >= 0), absent = absent + (new.dated < 0)
    WHERE source = new.key & 7;
END;
CREATE TRIGGER recounted AFTER UPDATE OF dated ON records
WHEN (old.dated < 0) <> (new.dated < 0) BEGIN
    UPDATE counts
    SET found = found + (new.dated >= 0) - (old.dated >= 0),
        absent = absent + (new.dated < 0) - (old.dated < 0)
    WHERE source = new.key & 7;
END;
CREATE TRIGGER uncounted AFTER DELETE ON records BEGIN
    UPDATE counts SET found = found - (old.dated >= 0), absent = absent - (old.dated < 0)
    WHERE source = old.key & 7;
END;
"""


@contextmanager
def reading(path: Path, *, wait_s: float = WAIT_S) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads, in one snapshot; None where there is no index yet.

    Raises `IndexRejected`, `IndexUnavailable`.
    """
    with _translated(path):
        if not path.exists() or not path.stat().st_size:
            yield None
            return
        _refuse_foreign(path)
        with closing(_read_only(path, wait_s)) as db:
            db.execute("BEGIN")
            is_made = _facts(db) != NOT_YET
            if is_made:
                _check(db, path)
            yield db if is_made else None


@contextmanager
def writing(path: Path, *, wait_s: float = WAIT_S) -> Iterator[sqlite3.Connection]:
    """A transaction that is committed at the end, and then durable; the index is made if need be.

    Raises `IndexRejected`, `IndexUnavailable`.
    """
    with _translated(path), closing(_read_write(path, wait_s)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _read_only(path: Path, wait_s: float) -> sqlite3.Connection:
    """A connection to the file as it is; in a folder that can't be written, without WAL's files."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    db = _connected(uri, wait_s)
    try:
        db.execute("SELECT * FROM sqlite_schema LIMIT 1")
    except sqlite3.OperationalError as error:
        db.close()
        log = path.with_name(f"{path.name}-wal")
        is_written = log.exists() and log.stat().st_size
        if not error.sqlite_errorname.startswith(CANNOT_WRITE):
            raise
        # A writer that was killed may have left a log that only who may write can bring in.
        db = _connected(uri.replace("?mode=ro", "") if is_written else f"{uri}&immutable=1", wait_s)
        db.execute("PRAGMA query_only = ON")
    return db


def _read_write(path: Path, wait_s: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _refuse_foreign(path)
    db = _connected(f"file:{quote(str(path.absolute()))}", wait_s)
    try:
        if _facts(db) == NOT_YET:
            db.execute("PRAGMA journal_mode = WAL")
            _create(db)
        _check(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _connected(uri: str, wait_s: float) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, timeout=wait_s, isolation_level=None, check_same_thread=False
    )


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    if _facts(db) == NOT_YET:  # another process may have been faster
        for statement in _statements():
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _statements() -> Iterator[str]:
    held = ""
    for line in SCHEMA.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""


def _facts(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Whose file it is, its version, and whether it holds tables."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    return application, version, db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _refuse_foreign(path: Path) -> None:
    # SQLite takes a file that is shorter than its header for an empty one, and writes over it.
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if head not in {b"", MAGIC}:
        raise IndexRejected(f"{path} is no index of metadata: it is another program's file")


def _check(db: sqlite3.Connection, path: Path) -> None:
    application, version, _ = _facts(db)
    if application != APPLICATION:
        raise IndexRejected(f"{path} is no index of metadata: it is another program's file")
    if version > VERSION:
        raise IndexRejected(
            f"{path} was made by a newer doivec (version {version} of the index; this one reads "
            f"{VERSION})"
        )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise IndexUnavailable(f"the index {path}: {_trouble(error)}") from error
    except sqlite3.DatabaseError as error:
        raise IndexRejected(
            f"the index {path} is damaged or no index ({error}): move it away, and index the "
            "snapshots again"
        ) from error
    except OSError as error:
        raise IndexUnavailable(f"the index {path}: {error.strerror or error}") from error


def _trouble(error: sqlite3.OperationalError) -> str:
    if error.sqlite_errorname in {"SQLITE_BUSY", "SQLITE_LOCKED"}:
        return "another process writes to it, and went on for too long"
    return str(error)
