"""The connection to a Qdrant server: every call has a deadline, every error is ours."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from qdrant_client import QdrantClient
from qdrant_client import grpc as wire

from worker.errors import ConfigurationError
from worker.settings import QdrantSettings
from worker.store.failures import translated

T = TypeVar("T")
# A lost server is looked for again every second, not after gRPC's pauses of up to two minutes;
# a connection that swallows packets is given up after half a minute.
CHANNEL = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
}


class Connection:
    """A client of one server; connects at the first call. Raises `ConfigurationError`."""

    def __init__(self, settings: QdrantSettings) -> None:
        self.timeout_s = settings.timeout_s
        self.client = _connect(settings)

    @property
    def points(self) -> Any:
        """The methods on points, for `call`."""
        return self.client.grpc_points

    @property
    def collections(self) -> Any:
        """The methods on collections and aliases, for `call`."""
        return self.client.grpc_collections

    def call(self, method: Callable[..., T], request: Any) -> T:
        """The server's answer to a request; raises `WorkerError`."""
        with translated():
            return method(request, timeout=self.timeout_s)

    def exists(self, collection: str) -> bool:
        """Whether the server has a collection of this name."""
        request = wire.CollectionExistsRequest(collection_name=collection)
        return bool(self.call(self.collections.CollectionExists, request).result.exists)

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def _connect(settings: QdrantSettings) -> QdrantClient:
    # As a header, because the client warns of an `api_key` without TLS, which is common and
    # sound inside one machine or a private network.
    key = settings.api_key
    try:
        return QdrantClient(
            url=settings.url,
            grpc_port=settings.grpc_port,
            prefer_grpc=True,
            headers={"api-key": key.get_secret_value()} if key else None,
            timeout=math.ceil(settings.timeout_s),
            grpc_options=dict(CHANNEL),
            check_compatibility=False,
        )
    except ValueError as error:
        raise ConfigurationError(f"DOIVEC_QDRANT__URL: {error}") from error
