from tests.support.fixtures import embedder, ledger, options, store

__all__ = ["embedder", "ledger", "options", "store"]
