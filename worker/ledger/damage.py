"""What Redis keeps for us and can't be understood: named, and never a traceback."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import LedgerDamaged

# What parsing raises of what is not as it was written: half a value, another type, not UTF-8.
DAMAGE = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, OSError),
    *(zlib.error, RecursionError),
)


@contextmanager
def undamaged(what: str) -> Iterator[None]:
    """Raise `LedgerDamaged` where what Redis has of something can't be understood."""
    try:
        yield
    except DAMAGE as error:
        reason = str(error).split("\n")[0]
        raise LedgerDamaged(f"Redis: {what} is damaged: {reason}") from error
