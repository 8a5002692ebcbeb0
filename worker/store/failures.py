"""The errors of gRPC and of the Qdrant client, made ours in one place."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from worker.errors import (
    CollectionMissing,
    ConfigurationError,
    StoreRejected,
    StoreUnavailable,
    WorkerError,
)

Code = grpc.StatusCode
REJECTED = {Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE, Code.ALREADY_EXISTS}
MISCONFIGURED = {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.UNIMPLEMENTED}
SERVER_ERROR = 500
# What gRPC says where nothing listens: `... ipv4:127.0.0.1:6334: Failed to connect to remote host:
# connect: Connection refused (111)`.
UNREACHABLE = re.compile(
    r"UNAVAILABLE: .*ipv[46]:(\S+): [^:]*connect[^:]*: (?:connect: )?"
    r"(connection refused|no route to host|network is unreachable)",
    re.IGNORECASE,
)
CUT_OFF = ("disconnected without sending a response", "peer closed connection")
STATUSES = {  # of HTTP, as Qdrant gives them over gRPC; all others may pass
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ALREADY_EXISTS,
    413: Code.INVALID_ARGUMENT,
    422: Code.INVALID_ARGUMENT,
}


@contextmanager
def translated() -> Iterator[None]:
    """The one place where the client's and the server's errors become ours."""
    try:
        yield
    except (grpc.RpcError, QdrantException, ApiException) as error:
        raise translate(error) from error
    except RuntimeError as error:  # so the client says that it could make no channel
        if not isinstance(error.__context__, OSError):
            raise
        raise StoreUnavailable(f"Qdrant: {error}") from error


def translate(error: Exception) -> WorkerError:
    """Our error for one of gRPC's or the client's; carries the pause that the server asked for.

    What isn't known to be the request's or the settings' fault may pass: a full disk, a shard
    that isn't active and a red collection are internal errors to Qdrant.
    """
    code, text, retry_after_s = _reading(error)
    message = " ".join(f"Qdrant: {code.name}: {text}".split())
    if away := UNREACHABLE.search(message):
        return StoreUnavailable(f"Qdrant does not answer at {away[1]}: {away[2].lower()}")
    if code in MISCONFIGURED:
        return ConfigurationError(message)
    if code in REJECTED:
        return StoreRejected(message)
    if code is Code.NOT_FOUND:
        return CollectionMissing(message)
    return StoreUnavailable(message, retry_after_s)


def over_http(error: Exception, url: str) -> WorkerError:
    """Our error where what should be Qdrant's HTTP port fails, or answers as no Qdrant does."""
    source = getattr(error, "source", error)
    words = " ".join(f"{url}: {source!r}".split())
    if "Connection refused" in words:
        return StoreUnavailable(f"Qdrant does not answer at {url}: connection refused")
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return ConfigurationError(f"{words}; DOIVEC_QDRANT__CA_FILE says who may vouch for it")
    if isinstance(source, httpx.RemoteProtocolError) and any(cut in words for cut in CUT_OFF):
        # So does Docker's proxy where nothing listens behind it yet, and a server that ends.
        return StoreUnavailable(
            f"Qdrant at {words}; where that lasts, DOIVEC_QDRANT__URL is not Qdrant's HTTP port"
        )
    is_away = isinstance(source, httpx.TimeoutException | httpx.NetworkError) and (
        "[SSL:" not in words
    )
    if is_away or (getattr(error, "status_code", None) or 0) >= SERVER_ERROR:
        return StoreUnavailable(f"Qdrant at {words}")
    return ConfigurationError(f"DOIVEC_QDRANT__URL: that is not Qdrant's HTTP port: {words}")


def _reading(error: Exception) -> tuple[Any, str, float | None]:
    """The code, text and asked-for pause of an error."""
    if isinstance(error, ResourceExhaustedResponse):
        return Code.RESOURCE_EXHAUSTED, str(error), float(error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        code = STATUSES.get(error.status_code or 0, Code.UNAVAILABLE)
        return code, str(error), _seconds(error.headers.get("retry-after"))
    if isinstance(error, grpc.Call):
        trailing = dict(error.trailing_metadata() or ())
        return error.code(), error.details() or "", _seconds(trailing.get("retry-after"))
    if isinstance(error, ResponseHandlingException):
        return Code.UNAVAILABLE, repr(error.source), None
    return Code.UNKNOWN, repr(error), None


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdecimal() else None
