"""The records that a promoted model can't read: they stay in the collection before, listed."""

from collections.abc import Sequence
from pathlib import Path

from worker.files import write_text


class Missing:
    """DOIs in a file, a line each; no file where there are none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, dois: Sequence[str]) -> None:
        """Keep these too."""
        if dois:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = sorted({*self.dois(), *dois})
            write_text(self.path, "".join(f"{doi}\n" for doi in lines))

    def dois(self) -> list[str]:
        """All that are kept."""
        return self.path.read_text().splitlines() if self.path.exists() else []

    def clear(self) -> None:
        """Forget them."""
        self.path.unlink(missing_ok=True)
