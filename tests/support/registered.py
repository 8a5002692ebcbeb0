"""A registry that knows a test's model already.

To register one runs sentence-transformers, which takes five seconds to import: once in a session,
not once for each deployment's first worker.
"""

import shutil
import tempfile
from pathlib import Path

from worker.model.registry import Registry, identify
from worker.settings.embedding import ModelSettings

TEMPLATES = ModelSettings().templates


MADE: dict[str, tempfile.TemporaryDirectory[str]] = {}


def put_into(data: Path, model: Path) -> None:
    """Register a model, with the templates that the settings have by default, below `data`."""
    version = identify(model, templates=TEMPLATES)
    if version not in MADE:
        MADE[version] = tempfile.TemporaryDirectory()
        Registry(Path(MADE[version].name)).register(model, name=str(model), templates=TEMPLATES)
    shutil.copytree(MADE[version].name, data / "models")
