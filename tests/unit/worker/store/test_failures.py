"""Every error of gRPC, of the Qdrant client and of Qdrant Edge becomes one of ours."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import httpx
import pytest
from qdrant_client import grpc as wire
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from tests.support.servers import free_port
from worker.errors import (
    CollectionMissing,
    ConfigurationError,
    StoreRejected,
    StoreUnavailable,
    WorkerError,
)
from worker.settings.servers import QdrantSettings
from worker.store import failures, shard
from worker.store.server import ServerStore

Code = grpc.StatusCode
OURS: dict[grpc.StatusCode, type[WorkerError]] = {
    Code.CANCELLED: StoreUnavailable,
    Code.UNKNOWN: StoreUnavailable,
    Code.INVALID_ARGUMENT: StoreRejected,
    Code.DEADLINE_EXCEEDED: StoreUnavailable,
    Code.NOT_FOUND: CollectionMissing,
    Code.ALREADY_EXISTS: StoreRejected,
    Code.PERMISSION_DENIED: ConfigurationError,
    Code.UNAUTHENTICATED: ConfigurationError,
    Code.RESOURCE_EXHAUSTED: StoreUnavailable,
    Code.FAILED_PRECONDITION: StoreUnavailable,
    Code.ABORTED: StoreUnavailable,
    Code.UNIMPLEMENTED: ConfigurationError,
    Code.INTERNAL: StoreUnavailable,
    Code.UNAVAILABLE: StoreUnavailable,
    Code.DATA_LOSS: StoreUnavailable,
    Code.OUT_OF_RANGE: StoreRejected,
}


class Finisher(grpc.GenericRpcHandler):
    """Answers a look at a collection with each of `statuses` in turn."""

    def __init__(self, *statuses: str) -> None:
        self.left = list(statuses)

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            self.look, response_serializer=wire.GetCollectionInfoResponse.SerializeToString
        )

    def look(self, _: bytes, __: grpc.ServicerContext) -> wire.GetCollectionInfoResponse:
        status = wire.CollectionStatus.Value(self.left.pop(0))
        return wire.GetCollectionInfoResponse(result=wire.CollectionInfo(status=status))


@contextmanager
def served(handler: grpc.GenericRpcHandler) -> Iterator[ServerStore]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    store = ServerStore(QdrantSettings(url="http://127.0.0.1:6333", grpc_port=port, timeout_s=10))
    yield store
    store.close()
    server.stop(None).wait()


class Refuser(grpc.GenericRpcHandler):
    """Answers a count with the code that the collection's name says, and asks for 7 s."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            self.refuse, request_deserializer=wire.CountPoints.FromString
        )

    def refuse(self, request: wire.CountPoints, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("retry-after", "7"),))
        context.abort(Code[request.collection_name], "said\n  the server")


@pytest.fixture(scope="module")
def refused() -> Iterator[ServerStore]:
    with served(Refuser()) as store:
        yield store


def test_the_table_has_every_code() -> None:
    assert OURS.keys() == set(Code) - {Code.OK}


@pytest.mark.parametrize(("code", "ours"), OURS.items(), ids=lambda value: value.__class__)
def test_a_code_becomes_ours(
    refused: ServerStore, code: grpc.StatusCode, ours: type[WorkerError]
) -> None:
    with pytest.raises(ours) as caught:
        refused.count(code.name)
    assert type(caught.value) is ours
    assert str(caught.value) == f"Qdrant: {code.name}: said the server"
    if ours is StoreUnavailable:
        assert caught.value.retry_after_s == 7.0


def test_a_deadline_that_passes(refused: ServerStore) -> None:
    settings = QdrantSettings(url="http://127.0.0.1:6333", grpc_port=1, timeout_s=0.2)
    nowhere = ServerStore(settings)
    with pytest.raises(StoreUnavailable):
        nowhere.count("anything")
    nowhere.close()


@pytest.mark.parametrize("last", ["Green", "Grey"])
def test_a_server_is_waited_for_while_it_indexes(last: str) -> None:
    answers = Finisher("Yellow", "Yellow", last)
    with served(answers) as store:
        store.finish("dois-1")
    assert answers.left == []


def test_a_server_that_cannot_index_says_so() -> None:
    with served(Finisher("Yellow", "Red")) as store, pytest.raises(StoreUnavailable, match="red"):
        store.finish("dois-1")


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        (400, StoreRejected),
        (401, ConfigurationError),
        (403, ConfigurationError),
        (404, CollectionMissing),
        (409, StoreRejected),
        (413, StoreRejected),
        (422, StoreRejected),
        (429, StoreUnavailable),
        (500, StoreUnavailable),
        (502, StoreUnavailable),
        (503, StoreUnavailable),
        (None, StoreUnavailable),
    ],
)
def test_an_http_status_becomes_ours(status: int | None, ours: type[WorkerError]) -> None:
    error = UnexpectedResponse(status, "no", b"{}", httpx.Headers({"Retry-After": "3"}))
    made = failures.translate(error)
    assert type(made) is ours
    assert getattr(made, "retry_after_s", 3.0) == 3.0
    assert "\n" not in str(made)


@pytest.mark.parametrize(
    ("error", "retry_after_s"),
    [
        (ResourceExhaustedResponse("slow down", 30), 30.0),
        (ResponseHandlingException(httpx.ConnectError("refused")), None),
        (QdrantException("something"), None),
        (ApiException("something"), None),
        (grpc.RpcError("something"), None),
    ],
)
def test_the_client_s_errors_become_ours(error: Exception, retry_after_s: float | None) -> None:
    with pytest.raises(StoreUnavailable) as caught, failures.translated():
        raise error
    assert caught.value.retry_after_s == retry_after_s
    assert caught.value.__cause__ is error


def test_our_own_errors_pass_unchanged() -> None:
    ours = CollectionMissing("none")
    with pytest.raises(CollectionMissing) as caught, shard.translated():
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (Exception("Service runtime error: WAL: No space left on device"), StoreUnavailable),
        (OSError(28, "No space left on device"), StoreUnavailable),
        (Exception("Vector dimension error: expected dim: 4, got 2"), StoreRejected),
        (ValueError("failed to parse zzz as UUID"), StoreRejected),
        (TypeError("failed to extract enum Helper"), StoreRejected),
    ],
)
def test_the_engine_s_errors_become_ours(error: Exception, ours: type[WorkerError]) -> None:
    with pytest.raises(ours) as caught, shard.translated():
        raise error
    assert type(caught.value) is ours
    assert caught.value.__cause__ is error


def test_an_interrupt_is_not_the_engine_s() -> None:
    with pytest.raises(KeyboardInterrupt), shard.translated():
        raise KeyboardInterrupt


def test_that_nobody_listens_is_said_with_the_place() -> None:
    port = free_port()
    settings = QdrantSettings(url=f"http://127.0.0.1:{free_port()}", grpc_port=port, timeout_s=2)
    store = ServerStore(settings)
    try:
        with pytest.raises(StoreUnavailable, match=r"does not answer at .*: connection refused"):
            store.live("dois")
    finally:
        store.close()
