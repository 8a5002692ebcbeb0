"""The records that a promoted model can't read: they stay in the collections before, listed."""

from collections.abc import Iterable, Iterator
from pathlib import Path


class Missing:
    """DOIs in a file, a line each; no file where there are none. Any number fits in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, dois: Iterable[str]) -> None:
        """Keep these too; none of them may be there already."""
        lines = "".join(f"{doi}\n" for doi in dois)
        if lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)

    def add_new(self, dois: Iterable[str]) -> None:
        """Keep those that aren't there yet."""
        new = set(dois)
        for doi in self.dois() if new else ():
            new.discard(doi)
        self.add(sorted(new))

    def dois(self) -> Iterator[str]:
        """All that are kept, one after the other."""
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)

    def count(self) -> int:
        """How many are kept."""
        return sum(1 for _ in self.dois())

    def clear(self) -> None:
        """Forget them."""
        self.path.unlink(missing_ok=True)
