"""Where Redis and Qdrant are."""

import ssl
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from worker.addresses import qdrant_url, redis_url
from worker.settings.slices import Slice, T


def _certificates(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(f"no certificates in {path}: {error.strerror or error}") from None
    return path


def _header(key: SecretStr) -> SecretStr:
    # gRPC and httpx quote in their errors what they can't send.
    text = key.get_secret_value()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("a key of visible ASCII characters is expected, without a line break")
    return key


Certificates = Annotated[Path, AfterValidator(_certificates)]
HeaderKey = Annotated[SecretStr, AfterValidator(_header)]


class RedisSettings(Slice):
    """Where the ledger and the queues are."""

    url: SecretStr | None = Field(
        default=None,
        description="redis://, rediss:// or unix:// URL; without one, a private server is started",
    )
    ca_file: Certificates | None = Field(
        default=None,
        description="with rediss://, who may vouch for the server besides those that this machine "
        "trusts: a file of certificates, in PEM",
    )
    verify_certificate: bool = Field(
        default=True,
        description="with rediss://, refuse a server whose certificate nobody vouches for; `false` "
        "gives the password to whoever answers",
    )
    timeout_s: float = Field(default=10.0, gt=0, description="deadline of one call, in seconds")

    @field_validator("url")
    @classmethod
    def _url_is_understood(cls, url: SecretStr | None) -> SecretStr | None:
        return None if url is None else SecretStr(redis_url(url.get_secret_value()))

    @field_validator("ca_file", "verify_certificate")
    @classmethod
    def _is_for_tls(cls, value: Any, info: ValidationInfo) -> Any:
        url = info.data.get("url", SecretStr("rediss:"))  # absent: it has an error of its own
        return _for_tls(value, url and url.get_secret_value(), scheme="rediss")

    def tls(self) -> dict[str, Any]:
        """How the server is to be trusted, as redis-py and kombu want it; empty without TLS."""
        if self.url is None or not self.url.get_secret_value().startswith("rediss:"):
            return {}
        return {
            "ssl_cert_reqs": "required" if self.verify_certificate else "none",
            "ssl_ca_certs": self.ca_file and str(self.ca_file),
        }


class QdrantSettings(Slice):
    """Where the vectors are."""

    url: Annotated[str, AfterValidator(qdrant_url)] | None = Field(
        default=None,
        description="HTTP URL of a Qdrant server; without one, Qdrant Edge in the data directory",
    )
    embedded: bool = Field(
        default=False,
        description="use Qdrant Edge though Redis is shared: for one worker, on this machine",
    )
    grpc_port: int = Field(default=6334, ge=1, le=65535, description="the server's gRPC port")
    ca_file: Certificates | None = Field(
        default=None,
        description="with https://, who alone may vouch for the server, in place of those that the "
        "clients bring: a file of certificates, in PEM",
    )
    api_key: HeaderKey | None = Field(default=None, description="the server's API key")
    timeout_s: float = Field(default=30.0, gt=0, description="deadline of one call, in seconds")
    collection: dict[str, Any] = Field(
        default_factory=dict,
        description="passed to Qdrant when a collection is made, as JSON: shard_number, "
        "replication_factor, vectors, hnsw_config, optimizers_config, quantization_config, ...",
    )

    @field_validator("ca_file")
    @classmethod
    def _is_for_tls(cls, value: Path, info: ValidationInfo) -> Path:
        return _for_tls(value, info.data.get("url", "https:"), scheme="https")


def _for_tls(value: T, url: str | None, *, scheme: str) -> T:
    if url is None or not url.startswith(f"{scheme}:"):
        raise ValueError(f"only a {scheme}:// URL has a use for it")
    return value
