"""Which store the settings mean."""

from pathlib import Path

from worker.settings import QdrantSettings
from worker.store.protocol import VectorStore


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
