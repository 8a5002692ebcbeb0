"""The connection to a Qdrant server: every call has a deadline, every error is ours."""

import math
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from qdrant_client.http.exceptions import ApiException

from worker.errors import ConfigurationError, StoreUnavailable
from worker.settings.servers import QdrantSettings
from worker.store.failures import over_http, translated

T = TypeVar("T")
# A lost server is looked for again every second, not after gRPC's pauses of up to two minutes;
# a connection that swallows packets is given up after half a minute.
CHANNEL = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
}


# What gRPC says of a port that another protocol, or a server that nobody vouches for, is behind.
NOT_GRPC = ("parsing HTTP/2", "CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")


class Connection:
    """A client of one server; connects at the first call."""

    def __init__(self, settings: QdrantSettings) -> None:
        self.timeout_s = settings.timeout_s
        self.client = _connect(settings)
        self._url = settings.url or ""
        self._grpc_port = settings.grpc_port

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

    def version(self) -> str:
        """The server's version, where both ports of the settings are Qdrant's.

        All other calls go to the gRPC port. Raises `ConfigurationError` where something else
        answers at one of them, `StoreUnavailable` where nothing does.
        """
        try:
            root = self.client.http.service_api.root()
        except (ApiException, ValueError) as error:  # ValueError: no JSON, or none of Qdrant's
            raise over_http(error, self._url) from error
        if "qdrant" not in root.title.lower():
            raise ConfigurationError(f"DOIVEC_QDRANT__URL: {self._url} is no Qdrant: {root.title}")
        try:
            with translated():
                self.client.info()
        except StoreUnavailable as error:
            words = f"DOIVEC_QDRANT__GRPC_PORT {self._grpc_port}: {error}"
            is_another = any(sign in words for sign in NOT_GRPC)
            raise (ConfigurationError if is_another else StoreUnavailable)(words) from error
        return str(root.version)

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
    key, ca_file = settings.api_key, settings.ca_file
    return QdrantClient(
        url=settings.url,
        grpc_port=settings.grpc_port,
        prefer_grpc=True,
        headers={"api-key": key.get_secret_value()} if key else None,
        timeout=math.ceil(settings.timeout_s),
        grpc_options={
            **CHANNEL,
            **({"root_certificates": ca_file.read_bytes()} if ca_file else {}),
        },
        verify=ssl.create_default_context(cafile=ca_file) if ca_file else True,
        check_compatibility=False,
    )
