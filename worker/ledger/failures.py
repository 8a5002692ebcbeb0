"""The errors of redis-py, made ours in one place."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from worker.errors import (
    ConfigurationError,
    LedgerRejected,
    LedgerUnavailable,
    WorkerError,
)

# What passes: no connection, starting up, a full memory or disk, a replica that takes over. All
# else that Redis answers is about the request itself.
PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.LockError,
)
PASSING_WORDS = (
    *("LOADING", "OOM", "MISCONF", "READONLY", "MASTERDOWN", "NOREPLICAS", "BUSY ", "TRYAGAIN"),
    *("CLUSTERDOWN", "UNBLOCKED", "max number of clients"),
)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise redis's errors as the worker's own."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise ConfigurationError(f"Redis refused the password or user: {error}") from error
    except redis.RedisError as error:
        raise unreachable(error) from error
    except UnicodeEncodeError as error:
        raise LedgerRejected(f"Redis can't be told: {error}") from error


def unreachable(error: Exception) -> WorkerError:
    """Our error for one of redis-py's or of kombu's connections."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return ConfigurationError(
            f"Redis: {error}; DOIVEC_REDIS__CA_FILE says who may vouch for it"
        )
    is_answer = isinstance(error, redis.RedisError) and not isinstance(error, PASSING)
    if is_answer and not str(error).startswith(PASSING_WORDS):
        return LedgerRejected(f"Redis: {error}")
    return LedgerUnavailable(f"Redis: {error}")
