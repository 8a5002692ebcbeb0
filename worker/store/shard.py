"""One shard of Qdrant Edge: its configuration, conditions and errors."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as engine
from numpy.typing import NDArray

from worker.errors import ConfigurationError, StoreRejected, StoreUnavailable, WorkerError
from worker.store.points import (
    COLLECTION,
    HIT_FIELDS,
    OF_DOI,
    STORED_FIELDS,
    TEXT_FROM,
    stored,
    vector_options,
)
from worker.store.protocol import Query, Stored

INDEXES: Mapping[str, engine.PayloadSchemaType] = {
    "registrant": engine.PayloadSchemaType.Keyword,
    "year": engine.PayloadSchemaType.Integer,
    "venue": engine.PayloadSchemaType.Keyword,
    "text_from": engine.PayloadSchemaType.Keyword,
}
HNSW_DEFAULTS = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}  # the engine's own
SUPPORTED = {"vectors", "hnsw_config", "optimizers_config", "on_disk_payload"}


@contextmanager
def translated() -> Iterator[None]:
    """The one place where the engine's errors become ours."""
    try:
        yield
    except WorkerError:
        raise
    except Exception as error:
        raise translate(error) from error
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":
            raise
        raise translate(error) from error  # a panic of the engine isn't an Exception


def translate(error: BaseException) -> WorkerError:
    """Our error for one of the engine's, which has only `Exception` and a text."""
    message = " ".join(f"Qdrant Edge: {error}".split())
    is_of_the_machine = isinstance(error, OSError) or "Service runtime error" in message
    if is_of_the_machine or not isinstance(error, Exception):
        return StoreUnavailable(message)
    return StoreRejected(message)


def shard_config(options: Mapping[str, Any], *, dimension: int) -> engine.EdgeConfig:
    """The engine's configuration for the mapping of the settings.

    Raises `ConfigurationError` for what Edge doesn't have.
    """
    if unknown := options.keys() - SUPPORTED:
        raise ConfigurationError(
            f"{COLLECTION}: {min(unknown)}: Qdrant Edge takes only {', '.join(sorted(SUPPORTED))}; "
            "leave it out, or set DOIVEC_QDRANT__URL"
        )
    vectors, hnsw = vector_options(options), options.get("hnsw_config")
    try:
        return engine.EdgeConfig(
            vectors=engine.EdgeVectorParams(dimension, engine.Distance.Cosine, **vectors),
            hnsw_config=engine.HnswIndexConfig(**{**HNSW_DEFAULTS, **hnsw}) if hnsw else None,
            optimizers=engine.EdgeOptimizersConfig(**options.get("optimizers_config", {})),
            on_disk_payload=options.get("on_disk_payload"),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigurationError(f"{COLLECTION}: {error}") from error


def dimension_of(path: Path) -> int:
    """The length of the vectors of the shard at `path`, read from the engine's own file."""
    config = json.loads((path / "edge_config.json").read_text())
    return int(config["vectors"][""]["size"])


def read(shard: engine.EdgeShard, ids: Sequence[str]) -> Iterator[tuple[str, Stored]]:
    """What is stored under `ids`, with the id."""
    for record in shard.retrieve(list(ids), list(STORED_FIELDS), False):
        yield str(record.id), stored(record.payload or {})


def payloads(
    shard: engine.EdgeShard, ids: Sequence[str], *, fields: Sequence[str] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is stored beside the vectors of `ids`, all or these fields; nulls are left out."""
    for record in shard.retrieve(list(ids), True if fields is None else list(fields), False):
        yield str(record.id), _payload(record)


def points(
    shard: engine.EdgeShard, ids: Sequence[str]
) -> Iterator[tuple[str, tuple[dict[str, Any], NDArray[np.float32]]]]:
    """The payloads and vectors of `ids`, with the id."""
    for record in shard.retrieve(list(ids), True, True):
        yield str(record.id), (_payload(record), np.array(record.vector, dtype=np.float32))


def _payload(record: engine.Record) -> dict[str, Any]:
    payload = (record.payload or {}).items()
    return {name: value for name, value in payload if value is not None}


def vectors(
    shard: engine.EdgeShard, ids: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The vectors of `ids`, float32 [d] each, with the id."""
    for record in shard.retrieve(list(ids), False, True):
        yield str(record.id), np.array(record.vector, dtype=np.float32)


def replaceable(revisions: Collection[str]) -> engine.Filter:
    """Which stored points a write may replace; see `VectorStore.upsert`."""
    known = engine.FieldCondition("revision", match=engine.MatchAny(sorted(revisions)))
    foreign = [engine.IsEmptyCondition("revision")] if "" in revisions else []
    return engine.Filter(should=[known, *foreign])


def older(ids: Sequence[str], sequence: int) -> engine.Filter:
    """Those of `ids` that are stored with a lower sequence."""
    return engine.Filter(must=[engine.HasIdCondition(set(ids)), _lower(sequence)])


def _lower(sequence: int) -> engine.FieldCondition:
    return engine.FieldCondition("sequence", range=engine.RangeFloat(lt=sequence))


def asked(query: Query, k: int) -> engine.QueryRequest:
    """A query for the `k` nearest points, with what hits carry."""
    return engine.QueryRequest(
        limit=k,
        query=engine.Query.Nearest(query.vector.tolist()),
        filter=_allowed(query),
        with_payload=list(HIT_FIELDS),
    )


def _allowed(query: Query) -> engine.Filter:
    sought = query.only
    keywords = (("registrant", sought.registrant), ("venue", sought.venue))
    must: list[Any] = [_is(key, value) for key, value in keywords if value is not None]
    must_not: list[Any] = [] if query.without is None else [engine.HasIdCondition({query.without})]
    if sought.years:
        span = engine.RangeFloat(gte=sought.years.first, lte=sought.years.last)
        must.append(engine.FieldCondition("year", range=span))
    if sought.of_text is not None:
        (must_not if sought.of_text else must).append(_is(TEXT_FROM, OF_DOI))
    return engine.Filter(must=must or None, must_not=must_not or None)


def _is(key: str, value: str) -> engine.FieldCondition:
    return engine.FieldCondition(key, match=engine.MatchValue(value))
