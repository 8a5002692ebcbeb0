"""The dictionaries that the index's records are compressed with: in its tables, never changed."""

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from worker.metadata import bodies
from worker.metadata.bodies import Damaged
from worker.metadata.entries import NO_DICTIONARY, Dictionary

MOST_DICTIONARIES = 255


def latest(db: sqlite3.Connection) -> Dictionary:
    """The one that new records are compressed with."""
    row = db.execute(
        "SELECT number, samples, bytes FROM dictionaries ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Dictionary(*row) if row else NO_DICTIONARY


def learn(db: sqlite3.Connection, samples: Sequence[bytes]) -> None:
    """Make a dictionary for what is kept from now on, where that can be done."""
    number = latest(db).number + 1
    if number <= MOST_DICTIONARIES and (made := bodies.trained(samples)):
        row = (number, len(samples), _digest(made), made)
        db.execute("INSERT INTO dictionaries VALUES (?, ?, ?, ?)", row)


def checked(held: Mapping[int, Any], digests: Mapping[int, bytes]) -> Mapping[int, bytes]:
    """Dictionaries that are as they were written; raises `Damaged`."""
    for number, found in held.items():
        if type(found) is not bytes or _digest(found) != digests[number]:
            raise Damaged(f"its dictionary {number} is not as it was written")
    return held


def _digest(dictionary: bytes) -> bytes:
    return blake2b(dictionary, digest_size=16).digest()
