"""What reading sources found besides records: columns, fields that were dropped, remarks."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from schemas.job import ColumnUse, FieldDrop, Reading
from worker.sources.columns import Use
from worker.sources.parsing import encodable, told

FIRST_DROPPED = 20
SOURCES = 50
UNUSED = 200  # names of a source
NOTES = 20
SHOWN_CHARACTERS = 300


class Report:
    """What is told of sources at the end of reading them; bounded, whatever they hold."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all: what was read is read again."""
        self._columns: list[ColumnUse] = []
        self._dropped = 0
        self._first: list[FieldDrop] = []
        self._notes: list[str] = []
        self._bytes_before = 0
        self._position: Callable[[], int] = lambda: 0

    @contextmanager
    def following(self, position: Callable[[], int]) -> Iterator[None]:
        """Know where a source is that is being read, by its bytes, while the context is open."""
        self._position = position
        try:
            yield
        finally:
            self._bytes_before, self._position = self.bytes_read, lambda: 0

    @property
    def bytes_read(self) -> int:
        """How many bytes of the sources were read, as they are stored."""
        return self._bytes_before + self._position()

    def use(self, source: str, found: Use) -> None:
        """Tell which columns of a source were used for what."""
        if len(self._columns) < SOURCES and (found.used or found.unused):
            used = {field: _encodable(names) for field, names in found.used.items()}
            self._columns.append(ColumnUse(source, used, _encodable(found.unused[:UNUSED])))

    def drop(self, source: str, line: int, dropped: Iterable[tuple[str, Any, str]]) -> None:
        """Count fields that a record lost, and keep the first few."""
        for field, value, reason in dropped:
            self._dropped += 1
            if len(self._first) < FIRST_DROPPED:
                self._first.append(FieldDrop(source, line, field, told(value), reason))

    def note(self, text: str) -> None:
        """Tell something else, in a line."""
        if len(self._notes) < NOTES:
            self._notes.append(encodable(text[:SHOWN_CHARACTERS]))

    @property
    def reading(self) -> Reading:
        """All of it."""
        return Reading(
            columns=tuple(self._columns),
            fields_dropped=self._dropped,
            first_dropped=tuple(self._first),
            notes=tuple(self._notes),
        )


def _encodable(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(encodable, names))
