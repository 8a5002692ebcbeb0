from pathlib import Path

import pytest

from tests.support.fixtures import embedder, ledger, options, store
from tests.support.tiny_model import make_tiny_model

__all__ = ["embedder", "ledger", "options", "store"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))
