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
from worker.store.points import COLLECTION, STORED_FIELDS, stored, vector_options
from worker.store.protocol import PointMissing, Stored

INDEXES: Mapping[str, engine.PayloadSchemaType] = {
    "registrant": engine.PayloadSchemaType.Keyword,
    "year": engine.PayloadSchemaType.Integer,
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


def payloads(shard: engine.EdgeShard, ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that is stored beside the vectors of `ids`, with the id; nulls are left out."""
    for record in shard.retrieve(list(ids), True, False):
        payload = (record.payload or {}).items()
        yield str(record.id), {name: value for name, value in payload if value is not None}


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


def wanted(query: str | NDArray[np.float32], registrant: str | None) -> engine.Filter:
    """What may be among the hits: not the point that is asked for, and only of `registrant`."""
    theirs = engine.FieldCondition("registrant", match=engine.MatchValue(registrant or ""))
    return engine.Filter(
        must=[theirs] if registrant is not None else None,
        must_not=[engine.HasIdCondition({query})] if isinstance(query, str) else None,
    )


def vector_of(shard: engine.EdgeShard, query: str | NDArray[np.float32]) -> list[float]:
    """The vector to search with; Edge can't query by id. Raises `PointMissing`."""
    if not isinstance(query, str):
        return [float(number) for number in query]
    records = shard.retrieve([query], False, True)
    if not records:
        raise PointMissing(f"there is no point {query}")
    vector: list[float] = records[0].vector  # type: ignore[assignment] # has one, dense
    return vector
