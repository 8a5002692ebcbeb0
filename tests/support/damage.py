"""Files with damaged bytes, and what is said of them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from worker.errors import SourceError


def refusals(path: Path, contents: Iterable[bytes], *, read: Callable[[Path], object]) -> list[str]:
    """What `read` says of `path` with each of the contents in turn, where it refuses them."""
    found = []
    for content in contents:
        path.write_bytes(content)
        try:
            read(path)
        except SourceError as error:
            found.append(str(error))
    return found
