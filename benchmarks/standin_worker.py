"""A worker whose embedder is a stand-in for a GPU: vectors from a hash, at no cost.

It is the worker of `worker.app` but for the model, so that the queue, the ledger and the store
can be measured at a GPU's rate on a machine that has none. Its vectors mean nothing.
"""

import sys
import zlib
from collections.abc import Sequence

import numpy as np
from celery.signals import worker_init
from numpy.typing import NDArray

from schemas.model import collection_name, guard_alias
from worker import tasks
from worker.ledger.ledger import Ledger
from worker.model.loaded import Target
from worker.settings.environment import read_settings
from worker.store.protocol import VectorStore

DIMENSION = 384


class StandIn:
    """An encoder that computes nothing: rows of one random table, chosen by each text's CRC."""

    def __init__(self) -> None:
        table = np.random.default_rng(0).standard_normal((4099, DIMENSION), dtype=np.float32)
        self._table = table / np.linalg.norm(table, axis=1, keepdims=True)

    def encode(self, texts: Sequence[str], _done: object = None) -> NDArray[np.float32]:
        """Unit vectors float32 [n, 384]."""
        return self._table[[zlib.crc32(text.encode()) % len(self._table) for text in texts]]


class StandIns:
    """Where this worker's models come from, in place of the registry."""

    def live(self, store: VectorStore, ledger: Ledger) -> str:
        """The one collection, made by the first worker."""
        alias, version = read_settings().collection, "0" * 64
        collection = collection_name(alias, version)
        with ledger.exclusive("first-collection", timeout_s=60):
            if store.live(alias) is None:
                store.create(collection, dimension=DIMENSION)
                store.publish([guard_alias(alias, version), alias], collection=collection)
        return collection

    def load(self, collection: str) -> Target:
        """The stand-in, for whatever collection."""
        return Target(collection, ("{doi}",), StandIn())


def start(sender: object, **_: object) -> None:
    """What `worker.tasks.start` does, with the stand-in."""
    pool = sender.pool_cls  # type: ignore[attr-defined]
    tasks.start(pool, source=StandIns())


if __name__ == "__main__":
    worker_init.disconnect(tasks.become_worker)
    worker_init.connect(start)
    tasks.app.worker_main(["worker", "--loglevel", "INFO", *sys.argv[1:]])
