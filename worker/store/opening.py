"""Which store the settings mean."""

from contextlib import closing
from pathlib import Path

from worker.settings.servers import QdrantSettings
from worker.store.directory import peek
from worker.store.protocol import VectorStore


def look(qdrant: QdrantSettings, *, data_dir: Path, alias: str) -> tuple[str | None, str | None]:
    """The live collection behind `alias` and its deployment, also where a worker has the store.

    Raises `ConfigurationError`, `StoreUnavailable`.
    """
    if not qdrant.url:
        return peek(data_dir / "edge", alias)
    with closing(open_store(qdrant, data_dir=data_dir)) as store:
        live = store.live(alias)
        return live, store.deployment(live) if live else None


def open_store(qdrant: QdrantSettings, *, data_dir: Path) -> VectorStore:
    """The store of the settings: the server at their URL, else Qdrant Edge in `data_dir`.

    Raises `ConfigurationError`, and `StoreBusy` where another process has the Edge store. A
    server isn't contacted before the first call.
    """
    # Each client is imported where it is used: qdrant_client takes most of a second.
    if qdrant.url:
        from worker.store.server import ServerStore  # noqa: PLC0415

        return ServerStore(qdrant)
    from worker.store.edge import EdgeStore  # noqa: PLC0415

    return EdgeStore(data_dir / "edge", options=qdrant.collection)
