"""The vector store on a Qdrant server: the client's connections, our own messages over gRPC."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire

from schemas.search import Hit
from worker.errors import ConfigurationError, StoreRejected
from worker.settings import QdrantSettings
from worker.store.failures import translated
from worker.store.messages import (
    messages,
    nearest,
    older,
    only,
    read_payload,
    replaceable,
)
from worker.store.points import (
    COLLECTION,
    HIT_FIELDS,
    STORED_FIELDS,
    check,
    chunks,
    hit,
    stored,
    vector_options,
)
from worker.store.protocol import Stored, Write

T = TypeVar("T")
# `update_filter` came with 1.16; an older server ignores it and would overwrite newer records.
OLDEST_SERVER = (1, 16)
IDS_A_CALL = 4096
RECORDS_A_CALL = 256  # of 1 MiB at the most, and all in memory at once
IDS_A_PAGE = 10_000
# `sequence` is for servers in strict mode, which refuse to update by a filter that no index
# serves. No index on `doi`: the point id is computed from it.
INDEXES = {
    "registrant": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeKeyword),
    "year": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeInteger),
    "sequence": wire.CreateFieldIndexCollection(
        field_type=wire.FieldType.FieldTypeInteger,
        field_index_params=wire.PayloadIndexParams(
            integer_index_params=wire.IntegerIndexParams(lookup=False, range=True)
        ),
    ),
}
# A lost server is looked for again every second, not after gRPC's pauses of up to two minutes;
# a connection that swallows packets is given up after half a minute.
CHANNEL = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
}
# Replicas must apply conditional writes in one order: they go through the shard's leader.
ORDERING = wire.WriteOrdering(type=wire.WriteOrderingType.Medium)


class ServerStore:
    """A `VectorStore` on a Qdrant server; connects at the first call."""

    def __init__(self, settings: QdrantSettings) -> None:
        self._timeout_s = settings.timeout_s
        self._options = collection_options(settings.collection)
        self._client = _connect(settings)
        self._is_new_enough = False

    def live(self, alias: str) -> str | None:
        """See `VectorStore`."""
        return self._aliases().get(alias)

    def create(self, collection: str, *, dimension: int) -> None:
        """See `VectorStore`."""
        self._require_conditional_writes()
        self._make(collection, dimension)
        request = wire.GetCollectionInfoRequest(collection_name=collection)
        info = self._call(self._client.grpc_collections.Get, request).result
        params = info.config.params.vectors_config.params
        if (params.size, params.distance) != (dimension, wire.Distance.Cosine):
            distance = wire.Distance.Name(params.distance)
            raise ConfigurationError(
                f"the collection {collection} exists with {distance} vectors of {params.size} "
                f"numbers; the model's are Cosine of {dimension}"
            )
        for field in INDEXES.keys() - info.payload_schema.keys():
            self._index(collection, field)

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """See `VectorStore`."""
        there = self._aliases()
        for alias in aliases:
            if alias not in there:
                new = wire.CreateAlias(alias_name=alias, collection_name=collection)
                changes = wire.ChangeAliases(actions=[wire.AliasOperations(create_alias=new)])
                self._call(self._client.grpc_collections.UpdateAliases, changes)

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See `VectorStore`."""
        pages = (self._read(collection, chunk) for chunk in chunks(ids, RECORDS_A_CALL))
        return dict(chain.from_iterable(pages))

    def upsert(self, collection: str, write: Write, *, sequence: int, bare: bool) -> None:
        """See `VectorStore`."""
        self._require_conditional_writes()
        check(write)
        condition = replaceable(sequence, bare=bare)
        for points in messages(write):
            points.collection_name = collection
            points.wait = True
            points.ordering.CopyFrom(ORDERING)
            points.update_filter.CopyFrom(condition)
            self._call(self._client.grpc_points.Upsert, points)

    def delete(self, collection: str, ids: Sequence[str], *, below: int) -> None:
        """See `VectorStore`."""
        for chunk in chunks(ids, IDS_A_CALL):
            request = wire.DeletePoints(
                collection_name=collection,
                wait=True,
                ordering=ORDERING,
                points=older(chunk, below),
            )
            self._call(self._client.grpc_points.Delete, request)

    def search(
        self, collection: str, query: str | NDArray[np.float32], *, k: int, registrant: str | None
    ) -> list[Hit]:
        """See `VectorStore`."""
        request = wire.QueryPoints(
            collection_name=collection,
            query=wire.Query(nearest=nearest(query)),
            limit=k,
            with_payload=only(HIT_FIELDS),
        )
        if registrant is not None:
            is_theirs = wire.FieldCondition(key="registrant", match=wire.Match(keyword=registrant))
            request.filter.must.add().field.CopyFrom(is_theirs)
        answer = self._call(self._client.grpc_points.Query, request)
        return [hit(read_payload(point), score=point.score) for point in answer.result]

    def count(self, collection: str) -> int:
        """See `VectorStore`."""
        request = wire.CountPoints(collection_name=collection, exact=True)
        return int(self._call(self._client.grpc_points.Count, request).result.count)

    def ids(self, collection: str) -> Iterator[str]:
        """See `VectorStore`."""
        page = wire.ScrollPoints(
            collection_name=collection, limit=IDS_A_PAGE, with_payload=only(())
        )
        while True:
            answer = self._call(self._client.grpc_points.Scroll, page)
            yield from (point.id.uuid for point in answer.result)
            if not answer.HasField("next_page_offset"):
                return
            page.offset.CopyFrom(answer.next_page_offset)

    def finish(self, collection: str) -> None:
        """Nothing: the server indexes by itself."""

    def close(self) -> None:
        """See `VectorStore`."""
        self._client.close()

    def _call(self, method: Callable[..., T], request: Any) -> T:
        with translated():
            return method(request, timeout=self._timeout_s)

    def _aliases(self) -> dict[str, str]:
        method = self._client.grpc_collections.ListAliases
        answer = self._call(method, wire.ListAliasesRequest())
        return {alias.alias_name: alias.collection_name for alias in answer.aliases}

    def _exists(self, collection: str) -> bool:
        request = wire.CollectionExistsRequest(collection_name=collection)
        answer = self._call(self._client.grpc_collections.CollectionExists, request)
        return bool(answer.result.exists)

    def _make(self, collection: str, dimension: int) -> None:
        if self._exists(collection):
            return
        vectors = self._options["vectors_config"].model_copy(update={"size": dimension})
        try:
            with translated():
                self._client.create_collection(
                    collection, **{**self._options, "vectors_config": vectors}
                )
        except StoreRejected as error:
            if not self._exists(collection):  # not another client's doing, at the same time
                raise ConfigurationError(f"{COLLECTION}: {error}") from error

    def _index(self, collection: str, field: str) -> None:
        request = wire.CreateFieldIndexCollection(
            collection_name=collection, field_name=field, wait=True
        )
        request.MergeFrom(INDEXES[field])
        self._call(self._client.grpc_points.CreateFieldIndex, request)

    def _read(self, collection: str, ids: Sequence[str]) -> Iterator[tuple[str, Stored]]:
        request = wire.GetPoints(
            collection_name=collection,
            ids=[wire.PointId(uuid=i) for i in ids],
            with_payload=only(STORED_FIELDS),
        )
        for point in self._call(self._client.grpc_points.Get, request).result:
            yield point.id.uuid, stored(read_payload(point))

    def _require_conditional_writes(self) -> None:
        if self._is_new_enough:
            return
        with translated():
            version = self._client.info().version
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise ConfigurationError(f"the Qdrant server is {version}; doivec needs 1.16 or newer")
        self._is_new_enough = True


def collection_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The client's arguments for making a collection; raises `ConfigurationError`."""
    kept = vector_options(settings)
    try:
        vectors = models.VectorParams(size=1, distance=models.Distance.COSINE, **kept)
        rest = models.CreateCollection.model_validate({**settings, "vectors": vectors})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{COLLECTION}: {where}: {first['msg']}") from error
    options = {name: value for name, value in rest if value is not None and name != "vectors"}
    if "sparse_vectors" in options:
        raise ConfigurationError(f"{COLLECTION}: sparse_vectors: doivec has none")
    return {**options, "vectors_config": vectors}


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
