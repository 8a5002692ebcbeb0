"""The vector store on a Qdrant server: the client's connections, our own messages over gRPC."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from qdrant_client import grpc as wire
from qdrant_client import models

from schemas.search import Hit
from worker.errors import ConfigurationError, StoreRejected, StoreUnavailable
from worker.settings.servers import QdrantSettings
from worker.store.aliases import Aliases
from worker.store.connection import Connection
from worker.store.failures import translated
from worker.store.messages import (
    asked,
    messages,
    older,
    only,
    read_payload,
    read_vector,
    replaceable,
)
from worker.store.names import versions
from worker.store.points import (
    COLLECTION,
    STORED_FIELDS,
    check,
    chunks,
    hit,
    ids_a_call,
    page_size,
    queries_a_call,
    stored,
    vector_options,
)
from worker.store.protocol import Health, Query, Stored, Write

# `update_filter` came with 1.16; an older server ignores it and would overwrite newer records.
OLDEST_SERVER = (1, 16)
DEPLOYMENT = "doivec_deployment"  # in a collection's metadata
IDS_A_CALL = 4096
VECTORS_A_CALL = 1024
RECORDS_A_CALL = 256  # of 1 MiB at the most, and all in memory at once
DEADLINES_TO_FINISH = 20
LOOK_EVERY_S = 0.25
# No index on `doi`: the point id is computed from it.
INDEXES = {
    "registrant": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeKeyword),
    "year": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeInteger),
    "venue": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeKeyword),
    "text_from": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeKeyword),
}
# A server in strict mode refuses to update by a filter that no index serves. Elsewhere these are
# left out: Qdrant adds links for them to the HNSW graph, which take as long to build as the graph.
STRICT_INDEXES = {
    "revision": wire.CreateFieldIndexCollection(field_type=wire.FieldType.FieldTypeKeyword),
    "sequence": wire.CreateFieldIndexCollection(
        field_type=wire.FieldType.FieldTypeInteger,
        field_index_params=wire.PayloadIndexParams(
            integer_index_params=wire.IntegerIndexParams(lookup=False, range=True)
        ),
    ),
}
WHOLE = wire.WithPayloadSelector(enable=True)
WITH_VECTORS = wire.WithVectorsSelector(enable=True)
# Replicas must apply conditional writes in one order: they go through the shard's leader.
ORDERING = wire.WriteOrdering(type=wire.WriteOrderingType.Medium)


class ServerStore:
    """A `VectorStore` on a Qdrant server; connects at the first call."""

    def __init__(self, settings: QdrantSettings) -> None:
        self._options = collection_options(settings.collection)
        self._server = Connection(settings)
        self._aliases = Aliases(self._server)
        self._is_checked = False

    def live(self, alias: str) -> str | None:
        """See `VectorStore`."""
        self._check()
        return self._aliases.all().get(alias)

    def create(self, collection: str, *, dimension: int) -> None:
        """See `VectorStore`."""
        self._check()
        self._make(collection, dimension)
        info = self._info(collection)
        params = info.config.params.vectors_config.params
        if (params.size, params.distance) != (dimension, wire.Distance.Cosine):
            distance = wire.Distance.Name(params.distance)
            raise ConfigurationError(
                f"the collection {collection} exists with {distance} vectors of {params.size} "
                f"numbers; the model's are Cosine of {dimension}"
            )
        is_strict = info.config.strict_mode_config.enabled
        wanted = {**INDEXES, **(STRICT_INDEXES if is_strict else {})}
        for field in wanted.keys() - info.payload_schema.keys():
            self._index(collection, wanted[field], field=field)

    def publish(self, aliases: Sequence[str], *, collection: str) -> None:
        """See `VectorStore`."""
        self._aliases.publish(aliases, collection=collection)

    def switch(self, alias: str, *, expected: str, collection: str) -> None:
        """See `VectorStore`."""
        self._aliases.switch(alias, expected=expected, collection=collection)

    def assign(self, collection: str, *, deployment: str) -> None:
        """See `VectorStore`."""
        request = wire.UpdateCollection(collection_name=collection)
        request.metadata[DEPLOYMENT].string_value = deployment
        self._server.call(self._server.collections.Update, request)

    def deployment(self, collection: str) -> str | None:
        """See `VectorStore`."""
        metadata = self._info(collection).config.metadata
        return metadata[DEPLOYMENT].string_value if DEPLOYMENT in metadata else None

    def aliases(self) -> dict[str, str]:
        """See `VectorStore`."""
        return self._aliases.all()

    def health(self, collection: str) -> Health:
        """See `VectorStore`."""
        info, strict = self._info(collection), {}
        troubles = [] if info.optimizer_status.ok else [info.optimizer_status.error]
        wanted = set(INDEXES)
        if info.config.strict_mode_config.enabled:
            strict = {f.name: str(v) for f, v in info.config.strict_mode_config.ListFields()}
            wanted |= set(STRICT_INDEXES)
        troubles += [
            f"it has no index of {name}" for name in sorted(wanted - info.payload_schema.keys())
        ]
        status = wire.CollectionStatus.Name(info.status).lower()
        return Health(self._server.version(), status, troubles, strict)

    def collections(self, alias: str) -> list[str]:
        """See `VectorStore`."""
        return versions(alias, self.names())

    def names(self) -> list[str]:
        """See `VectorStore`."""
        answer = self._server.call(self._server.collections.List, wire.ListCollectionsRequest())
        return sorted(there.name for there in answer.collections)

    def drop(self, collection: str) -> None:
        """See `VectorStore`."""
        there = self._aliases.all().items()
        if pointing := sorted(alias for alias, target in there if target == collection):
            raise StoreRejected(f"{collection} is in use: {', '.join(pointing)} points at it")
        request = wire.DeleteCollection(collection_name=collection)
        self._server.call(self._server.collections.Delete, request)

    def read(self, collection: str, ids: Sequence[str]) -> dict[str, Stored]:
        """See `VectorStore`."""
        request = wire.GetPoints(with_payload=only(STORED_FIELDS))
        points = self._get(collection, request, chunks(ids, IDS_A_CALL))
        return {point.id.uuid: stored(read_payload(point)) for point in points}

    def payloads(
        self, collection: str, ids: Sequence[str], *, fields: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """See `VectorStore`."""
        request = wire.GetPoints(with_payload=WHOLE if fields is None else only(fields))
        size = ids_a_call(fields, few=RECORDS_A_CALL, many=IDS_A_CALL)
        points = self._get(collection, request, chunks(ids, size))
        return {point.id.uuid: read_payload(point) for point in points}

    def points(
        self, collection: str, ids: Sequence[str]
    ) -> dict[str, tuple[dict[str, Any], NDArray[np.float32]]]:
        """See `VectorStore`."""
        request = wire.GetPoints(with_payload=WHOLE, with_vectors=WITH_VECTORS)
        points = self._get(collection, request, chunks(ids, RECORDS_A_CALL))
        return {point.id.uuid: (read_payload(point), read_vector(point)) for point in points}

    def vectors(self, collection: str, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """See `VectorStore`."""
        request = wire.GetPoints(with_payload=only(()), with_vectors=WITH_VECTORS)
        points = self._get(collection, request, chunks(ids, VECTORS_A_CALL))
        return {point.id.uuid: read_vector(point) for point in points}

    def upsert(self, collection: str, write: Write, *, revisions: Collection[str]) -> None:
        """See `VectorStore`."""
        self._check()
        check(write)
        condition = replaceable(revisions)
        for points in messages(write):
            points.collection_name = collection
            points.wait = True
            points.ordering.CopyFrom(ORDERING)
            points.update_filter.CopyFrom(condition)
            self._server.call(self._server.points.Upsert, points)

    def delete(self, collection: str, ids: Sequence[str], *, below: int) -> None:
        """See `VectorStore`."""
        for chunk in chunks(ids, IDS_A_CALL):
            request = wire.DeletePoints(
                collection_name=collection,
                wait=True,
                ordering=ORDERING,
                points=older(chunk, below),
            )
            self._server.call(self._server.points.Delete, request)

    def query(self, collection: str, queries: Sequence[Query], *, k: int) -> list[list[Hit]]:
        """See `VectorStore`."""
        requests = [asked(query, k, collection=collection) for query in queries]
        calls = (
            wire.QueryBatchPoints(collection_name=collection, query_points=call)
            for call in chunks(requests, queries_a_call(k))
        )
        answers = (self._server.call(self._server.points.QueryBatch, call) for call in calls)
        return [
            [hit(read_payload(p), score=p.score) for p in found.result]
            for answer in answers
            for found in answer.result
        ]

    def status(self, collection: str) -> str:
        """See `VectorStore`."""
        return str(wire.CollectionStatus.Name(self._info(collection).status)).lower()

    def count(self, collection: str, *, exact: bool = True) -> int:
        """See `VectorStore`."""
        request = wire.CountPoints(collection_name=collection, exact=exact)
        return int(self._server.call(self._server.points.Count, request).result.count)

    def scan(
        self, collection: str, fields: Sequence[str]
    ) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """See `VectorStore`."""
        limit = page_size(fields)
        strict = self._info(collection).config.strict_mode_config
        if strict.enabled and strict.HasField("max_query_limit"):
            limit = min(limit, strict.max_query_limit)
        page = wire.ScrollPoints(collection_name=collection, limit=limit, with_payload=only(fields))
        while True:
            answer = self._server.call(self._server.points.Scroll, page)
            yield [(point.id.uuid, read_payload(point)) for point in answer.result]
            if not answer.HasField("next_page_offset"):
                return
            page.offset.CopyFrom(answer.next_page_offset)

    def ids(self, collection: str) -> Iterator[str]:
        """See `VectorStore`."""
        return (i for page in self.scan(collection, ()) for i, _ in page)

    def finish(self, collection: str) -> bool:
        """See `VectorStore`."""
        deadline = time.monotonic() + DEADLINES_TO_FINISH * self._server.timeout_s
        while (status := self._info(collection).status) == wire.CollectionStatus.Yellow:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        if status == wire.CollectionStatus.Red:
            raise StoreUnavailable(f"the collection {collection} is red: its index can't be built")
        return True

    def close(self) -> None:
        """See `VectorStore`."""
        self._server.close()

    def _info(self, collection: str) -> wire.CollectionInfo:
        request = wire.GetCollectionInfoRequest(collection_name=collection)
        info: wire.CollectionInfo = self._server.call(self._server.collections.Get, request).result
        return info

    def _get(
        self, collection: str, request: wire.GetPoints, pages: Iterable[Sequence[str]]
    ) -> Iterator[wire.RetrievedPoint]:
        request.collection_name = collection
        for ids in pages:
            del request.ids[:]
            request.ids.extend(wire.PointId(uuid=i) for i in ids)
            yield from self._server.call(self._server.points.Get, request).result

    def _make(self, collection: str, dimension: int) -> None:
        if self._server.exists(collection):
            return
        vectors = self._options["vectors_config"].model_copy(update={"size": dimension})
        try:
            with translated():
                self._server.client.create_collection(
                    collection, **{**self._options, "vectors_config": vectors}
                )
        except StoreRejected as error:
            if not self._server.exists(collection):  # not another client's doing, at the same time
                raise ConfigurationError(f"{COLLECTION}: {error}") from error

    def _index(self, collection: str, kind: wire.CreateFieldIndexCollection, *, field: str) -> None:
        request = wire.CreateFieldIndexCollection(
            collection_name=collection, field_name=field, wait=True
        )
        request.MergeFrom(kind)
        self._server.call(self._server.points.CreateFieldIndex, request)

    def _check(self) -> None:
        """Once, before anything else: is this the server that the settings mean, and new enough."""
        if self._is_checked:
            return
        version = self._server.version()
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            raise ConfigurationError(f"the Qdrant server is {version}; doivec needs 1.16 or newer")
        self._is_checked = True


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
