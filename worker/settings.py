"""The settings: the one place that reads the environment."""

import json
import os
import re
import ssl
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from worker.addresses import qdrant_url, redis_url, registry_url
from worker.errors import ConfigurationError

T = TypeVar("T")
PREFIX = "DOIVEC_"
# docker-compose.yml makes the URL of it; with the rest of .env it reaches the workers too.
COMPOSES_OWN = {"DOIVEC_REDIS_PASSWORD"}


class Slice(BaseModel):
    """A part of the settings; frozen, strict about names, silent about values in its errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


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


def _mailto(address: str) -> str:
    # A header can't hold other characters.
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", address):
        raise ValueError("an e-mail address of visible ASCII characters is expected")
    return address


Certificates = Annotated[Path, AfterValidator(_certificates)]
HeaderKey = Annotated[SecretStr, AfterValidator(_header)]
RegistryUrl = Annotated[str, AfterValidator(registry_url)]


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


class ModelSettings(Slice):
    """The model of the first collection; later ones come by promotion."""

    name: str = Field(
        default="base",
        description="`base` (all-MiniLM-L6-v2), a sentence-transformers directory, or a hub name",
    )
    revision: str | None = Field(
        default=None, description="the commit of a hub name; required for one"
    )
    templates: tuple[str, ...] = Field(
        default=("{title}", "{doi}"),
        min_length=1,
        description="text templates; the first whose fields a record has applies",
    )


class EmbedSettings(Slice):
    """How texts are embedded; none of this decides what a vector is."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="auto: the fastest the device has that keeps parity"
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        description="torch's threads; without it, the cores divided by `workers_per_machine`",
    )
    workers_per_machine: int = Field(
        default=1, ge=1, description="worker processes that share this machine's cores"
    )


class LimitSettings(Slice):
    """What input may be at the most."""

    doi_bytes: int = Field(default=2048, ge=1, description="a DOI, in bytes")
    record_bytes: int = Field(default=1024 * 1024, ge=1, description="a line or record, in bytes")
    batch_records: int = Field(default=4096, ge=1, description="a batch, in records")


class IngestSettings(Slice):
    """How work is cut, leased and kept."""

    batch_records: int = Field(default=1024, ge=1, description="records a batch")
    outstanding_batches: int = Field(
        default=256, ge=1, description="a producer holds while so many batches are not settled"
    )
    concurrency: int = Field(
        default=3,
        ge=1,
        description="batches that a worker has in hand at once: one embeds, others read and write",
    )
    lease_s: float = Field(
        default=20.0,
        gt=0,
        description="a batch whose worker was silent for so long is queued again, in seconds",
    )
    sweep_s: float = Field(
        default=5.0, gt=0, description="pause between two sweeps for lost batches, in seconds"
    )
    pause_records: int = Field(
        default=2000, ge=1, description="a job may pause once so many of its records have settled"
    )
    pause_share: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="a job pauses when this share of its records ended dead",
    )
    backfill_share: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of a worker's device that a backfill may take while ingest waits for it",
    )
    retention_s: float = Field(
        default=30 * 86400.0,
        gt=0,
        description="how long settled batches and jobs are kept, in seconds",
    )


def _listed(value: Any) -> Any:
    """A list as people write one: `crossref, openalex`; or JSON."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()


Live = Literal["crossref", "openalex", "datacite", "agency"]


class MetadataSettings(Slice):
    """Where titles, abstracts, years and venues of bare DOIs are looked up."""

    sources: Annotated[tuple[Live, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="registries that may be asked over the network, such as `crossref,openalex`; "
        "without any, only the local index is",
    )
    mailto: Annotated[str, AfterValidator(_mailto)] | None = Field(
        default=None,
        description="your e-mail address, by which the registries reach whoever asks them; "
        "required for each of them",
    )
    want: Literal["title", "abstract"] = Field(
        default="title",
        description="what a record must lack to be looked up: a title, or an abstract, too",
    )
    index: Path | None = Field(
        default=None,
        description="the local index, a file; without it, `metadata.sqlite` in the data directory",
    )
    crossref_url: RegistryUrl = Field(
        default="https://api.crossref.org", description="Crossref, a mirror"
    )
    crossref_token: HeaderKey | None = Field(
        default=None, description="the token of a Crossref Metadata Plus subscription"
    )
    openalex_url: RegistryUrl = Field(default="https://api.openalex.org", description="OpenAlex")
    openalex_key: HeaderKey | None = Field(
        default=None,
        description="an OpenAlex API key; without one, its free budget a day is smaller",
    )
    openalex_usd_a_day: float = Field(
        default=0.1,
        ge=0,
        description="what OpenAlex may cost in a day (UTC), in US dollars; with 0, each DOI is "
        "looked up alone, which costs nothing and takes longer",
    )
    datacite_url: RegistryUrl = Field(
        default="https://api.datacite.org", description="DataCite, a mirror"
    )
    doi_url: RegistryUrl = Field(
        default="https://doi.org", description="the resolver of DOIs, which knows their agencies"
    )
    timeout_s: float = Field(default=30.0, gt=0, description="deadline of one call, in seconds")
    found_days: float = Field(
        default=365.0,
        gt=0,
        description="one that was found without a title is looked up again after so long",
    )
    absent_days: float = Field(
        default=30.0, gt=0, description="one that wasn't, after so long, a fifth more or less"
    )
    young_absent_days: float = Field(
        default=7.0,
        gt=0,
        description="the same for DOIs that hold this year or the last one, so are new perhaps",
    )
    pause_s: float = Field(
        default=300.0,
        gt=0,
        description="pause of `metadata run` after a pass that found nothing to do, in seconds",
    )


class PairSettings(Slice):
    """What labelled pairs may be at the most: labels are input from outside."""

    file_pairs: int = Field(default=10_000_000, ge=1, description="pairs in one import")
    store_pairs: int = Field(default=50_000_000, ge=1, description="pairs in the store")
    sources: int = Field(
        default=100, ge=1, description="sources (what stands before a colon) in the store"
    )
    apart: tuple[str, ...] = Field(
        default=("retractionwatch",),
        description="sources that are reported, but are not in an evaluation's totals",
    )
    source_share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="share of all pairs that one source may have, where there are several",
    )
    renew_days: int = Field(
        default=365,
        ge=1,
        description="a refine renews a held-out set whose questions are older, in days",
    )


Metric = Literal[
    "ndcg@10", "recall@10", "mrr", "roc_auc", "average_precision", "spearman", "pearson"
]


Guard = Literal[Metric, "random_roc_auc"]


class GateSettings(Slice):
    """What a challenger must show to replace a champion; see `trainer.evaluation.gate`."""

    metric: Metric = Field(
        default="ndcg@10", description="the metric that must get better by more than chance"
    )
    guards: dict[Guard, NonNegativeFloat] = Field(
        default={
            "roc_auc": 0.02,
            "average_precision": 0.02,
            "recall@10": 0.01,
            "mrr": 0.01,
            "random_roc_auc": 0.01,
        },
        description="how much each of these metrics may fall over all held-out pairs, "
        "`random_roc_auc` beside documents drawn at random",
    )
    slice_margin: float = Field(
        default=0.03, ge=0, description="how much the metric and the guards may fall in a slice"
    )
    minimum_groups: int = Field(
        default=50,
        ge=2,
        description="groups that a decision needs, over all and in a slice",
    )


class RefineSettings(Slice):
    """What `doi-trainer refine` does where its options don't say otherwise."""

    recipe: str = Field(
        default="title", description="the recipe of a refine: a name, or a .toml file"
    )
    parent: Literal["base", "live"] = Field(
        default="base", description="what a refine trains from: the base model, or the live one"
    )
    allow_missing: bool = Field(
        default=False,
        description="promote a model too that can't read some of the collection's records",
    )


class ScheduleSettings(Slice):
    """When `doi-trainer schedule` asks for what."""

    refine: str = Field(
        default="0 3 * * sun",
        description="when to refine, as in a crontab: minute, hour, day of month, month, weekday; "
        "where both kinds of days are named, both must apply",
    )
    time_zone: str = Field(
        default="UTC", description="the crontab's time zone, such as Europe/Berlin"
    )

    @field_validator("time_zone")
    @classmethod
    def _time_zone_is_known(cls, name: str) -> str:
        try:
            return ZoneInfo(name).key
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"there is no time zone {name!r} on this machine") from error


class LogSettings(Slice):
    """What a worker, a trainer or a clock writes to its log, on standard error."""

    format: Literal["text", "json"] = Field(
        default="text", description="a line of text, or an object of JSON, for each event"
    )
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", description="the least severe events that are logged"
    )

    @field_validator("level", mode="before")
    @classmethod
    def _in_capitals(cls, level: Any) -> Any:
        return level.upper() if isinstance(level, str) else level


class MetricsSettings(Slice):
    """Where a process tells how it is: /metrics for Prometheus, /livez and /readyz."""

    port: int | None = Field(
        default=None, ge=1, le=65535, description="its HTTP port; without one, nothing is served"
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="the address that it listens at; `0.0.0.0` lets other machines ask",
    )
    stalled_s: float = Field(
        default=600.0,
        gt=0,
        description="a worker that has work and has settled nothing for so long is unhealthy",
    )


class Settings(BaseSettings):
    """All settings, read from the environment (`DOIVEC_...`, nested by `__`)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    collection: str = Field(
        default="dois",
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="the alias under which the live collection answers",
    )
    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local" / "share" / "doivec",
        description="models, and without servers the ledger and the vectors",
    )
    trace: Path | None = Field(
        default=None,
        description="write a span per step of each batch to this file, as Chrome trace events",
    )
    redis: RedisSettings = RedisSettings()
    qdrant: QdrantSettings = QdrantSettings()
    model: ModelSettings = ModelSettings()
    embed: EmbedSettings = EmbedSettings()
    limits: LimitSettings = LimitSettings()
    ingest: IngestSettings = IngestSettings()
    metadata: MetadataSettings = MetadataSettings()
    pairs: PairSettings = PairSettings()
    gate: GateSettings = GateSettings()
    refine: RefineSettings = RefineSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()


def variables(
    model: type[BaseModel] = Settings, prefix: str = PREFIX
) -> Iterator[tuple[str, FieldInfo]]:
    """Every setting there is: the name of its variable, and its field."""
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Slice):
            yield from variables(field.annotation, f"{variable}__")
        else:
            yield variable, field


def read_settings() -> Settings:
    """The settings that the environment gives; raises `ConfigurationError`, in one line."""
    _refuse_what_is_no_setting()
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error
    except SettingsError as error:
        raise ConfigurationError(str(error)) from error


def _refuse_what_is_no_setting() -> None:
    known = [name for name, _ in variables()]
    for name, value in os.environ.items():
        if not name.upper().startswith(PREFIX) or name in COMPOSES_OWN:
            continue
        if name.upper() not in known:
            (nearest,) = get_close_matches(name.upper(), known, n=1, cutoff=0.0)
            raise ConfigurationError(f"{name} is no setting; the nearest is {nearest}")
        if not value.strip():
            raise ConfigurationError(f"{name} is empty: give it a value, or leave it out")
