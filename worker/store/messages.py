"""The messages that the server store sends, built here rather than by the client's conversions.

Those take seven times the CPU time for a batch.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import grpc as wire

from worker.errors import StoreRejected
from worker.store.points import HIT_FIELDS, OF_DOI, TEXT_FROM
from worker.store.protocol import Query, Write

# A request is closed when it reaches this, so that with one more record of 1 MiB it stays under
# 4 MiB, the limit that gRPC proxies and libraries set by custom (Qdrant itself sets none).
REQUEST_BYTES = 5 * 512 * 1024


def messages(write: Write) -> Iterator[wire.UpsertPoints]:
    """The points of a write, in requests of about `REQUEST_BYTES`."""
    request, size = wire.UpsertPoints(), 0
    head = _vector_head(write)
    for i, vector, payload in zip(
        write.ids, write.vectors.astype("<f4", copy=False), write.payloads, strict=True
    ):
        point = request.points.add()
        # A packed float field is its bytes; parsing them is a copy, adding floats is a loop.
        point.MergeFromString(head + vector.tobytes())
        point.id.uuid = i
        _fill(point, payload)
        size += point.ByteSize()
        if size >= REQUEST_BYTES:
            yield request
            request, size = wire.UpsertPoints(), 0
    if request.points:
        yield request


def _vector_head(write: Write) -> bytes:
    """What stands before the floats of a vector in a serialized point."""
    floats = write.vectors.shape[1]
    dense = wire.DenseVector(data=[0.0] * floats)
    point = wire.PointStruct(vectors=wire.Vectors(vector=wire.Vector(dense=dense)))
    return bytes(point.SerializeToString()[: -4 * floats])


def _fill(point: wire.PointStruct, payload: Mapping[str, Any]) -> None:
    try:
        for name, value in payload.items():
            _set(point.payload[name], value)
    except (TypeError, ValueError) as error:  # not text in Unicode, not a number of 64 bits
        raise StoreRejected(f"the payload of {payload.get('doi')}: {name}: {error}") from error


def _set(field: wire.Value, value: Any) -> None:
    if isinstance(value, str):
        field.string_value = value
    elif isinstance(value, Mapping):
        field.struct_value.SetInParent()  # an empty one is one, too
        for name, inner in value.items():
            _set(field.struct_value.fields[name], inner)
    else:
        field.integer_value = value


def replaceable(revisions: Collection[str]) -> wire.Filter:
    """Which stored points a write may replace; see `VectorStore.upsert`."""
    among = wire.Match(keywords=wire.RepeatedStrings(strings=sorted(revisions)))
    known = wire.Condition(field=wire.FieldCondition(key="revision", match=among))
    foreign = wire.Condition(is_empty=wire.IsEmptyCondition(key="revision"))
    return wire.Filter(should=[known, foreign] if "" in revisions else [known])


def older(ids: Sequence[str], sequence: int) -> wire.PointsSelector:
    """Those of `ids` that are stored with a lower sequence."""
    among = wire.HasIdCondition(has_id=[wire.PointId(uuid=i) for i in ids])
    chosen = wire.Filter(must=[wire.Condition(has_id=among), _lower(sequence)])
    return wire.PointsSelector(filter=chosen)


def _lower(sequence: int) -> wire.Condition:
    below = wire.Range(lt=sequence)
    return wire.Condition(field=wire.FieldCondition(key="sequence", range=below))


def asked(query: Query, k: int, *, collection: str) -> wire.QueryPoints:
    """A query for the `k` nearest points, with what hits carry."""
    dense = wire.DenseVector(data=query.vector.tolist())
    request = wire.QueryPoints(
        collection_name=collection,
        query=wire.Query(nearest=wire.VectorInput(dense=dense)),
        limit=k,
        with_payload=only(HIT_FIELDS),
    )
    allowed = _allowed(query)
    if allowed.ByteSize():
        request.filter.CopyFrom(allowed)
    return request


def _allowed(query: Query) -> wire.Filter:
    allowed, sought = wire.Filter(), query.only
    for key, value in (("registrant", sought.registrant), ("venue", sought.venue)):
        if value is not None:
            allowed.must.append(_is(key, value))
    if sought.years:
        span = wire.Range(gte=sought.years.first, lte=sought.years.last)
        allowed.must.append(wire.Condition(field=wire.FieldCondition(key="year", range=span)))
    if sought.of_text is not None:
        side = allowed.must_not if sought.of_text else allowed.must
        side.append(_is(TEXT_FROM, OF_DOI))
    if query.without is not None:
        own = wire.HasIdCondition(has_id=[wire.PointId(uuid=query.without)])
        allowed.must_not.append(wire.Condition(has_id=own))
    return allowed


def _is(key: str, value: str) -> wire.Condition:
    match = wire.Match(keyword=value)
    return wire.Condition(field=wire.FieldCondition(key=key, match=match))


def only(fields: Sequence[str]) -> wire.WithPayloadSelector:
    """Ask for these fields of the payload; for none of it where there are none."""
    if not fields:
        return wire.WithPayloadSelector(enable=False)
    return wire.WithPayloadSelector(include=wire.PayloadIncludeSelector(fields=fields))


def read_vector(point: wire.RetrievedPoint) -> NDArray[np.float32]:
    """The vector float32 [d] of a point as it came over the wire."""
    vector = point.vectors.vector
    # Servers send `data` for as long as the oldest clients are about, `dense` after that.
    return np.array(vector.dense.data or vector.data, dtype=np.float32)


def read_payload(point: wire.RetrievedPoint | wire.ScoredPoint) -> dict[str, Any]:
    """The payload of a point as it came over the wire; nulls are left out."""
    values = ((name, _plain(value)) for name, value in point.payload.items())
    return {name: value for name, value in values if value is not None}


def _plain(value: wire.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(inner) for name, inner in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(inner) for inner in value.list_value.values]
    return None if kind in {None, "null_value"} else getattr(value, str(kind))
