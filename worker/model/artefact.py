"""What of a sentence-transformers directory decides a vector, and the version that it gives."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from worker.errors import ModelError

# The files that a sentence-transformers module may be made of. Others (a README, the list of
# training data, weights in other formats) decide no vector and are not copied.
DECIDING = re.compile(
    r"modules\.json|config(_sentence_transformers)?\.json|sentence_[\w-]+_config\.json"
    r"|[\w.-]+\.safetensors(\.index\.json)?"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.(txt|json)|merges\.txt"
)
# What these files say of libraries and of where a model came from decides no vector.
PASSING = {"__version__", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash"}


def deciding_files(source: Path) -> dict[str, Path]:
    """The files that decide a vector, by their path in the directory, sorted.

    Raises `ModelError` where there are none, or the model wants to run code of its own.
    """
    if not (source / "modules.json").is_file():
        raise ModelError(f"{source} is not a sentence-transformers directory: no modules.json")
    folders = {_inside(module.get("path", "")) for module in _modules(source)}
    found = {
        (folder / path.name).as_posix(): path
        for folder in {PurePosixPath(), *folders}
        for path in (source / folder).glob("*")
        if path.is_file() and DECIDING.fullmatch(path.name)
    }
    _refuse_code(source, found)
    _refuse_adapters(source, folders)
    if not any(name.endswith(".safetensors") for name in found):
        raise ModelError(f"{source} has no safetensors weights; pickled ones are not loaded")
    return dict(sorted(found.items()))


def _modules(source: Path) -> list[dict[str, Any]]:
    modules = _read_json(source / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{source / 'modules.json'} is not a list of modules")
    return modules


def _inside(folder: Any) -> PurePosixPath:
    if not isinstance(folder, str) or not folder.isprintable():
        raise ModelError(f"modules.json names a folder that is none: {folder!r:.100}")
    path = PurePosixPath(folder)
    if path.is_absolute() or ".." in path.parts:
        raise ModelError(f"modules.json names a folder outside of the model: {folder!r}")
    return path


def _refuse_code(source: Path, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        if name.endswith(".json") and '"auto_map"' in path.read_text("utf-8", "replace"):
            raise ModelError(f"{source} wants to run code of its own (auto_map in {name})")
    for module in _modules(source):
        if not str(module.get("type", "")).startswith("sentence_transformers."):
            raise ModelError(f"{source} wants to run code of its own: {module.get('type')}")


def _refuse_adapters(source: Path, folders: Iterable[PurePosixPath]) -> None:
    for folder in folders:
        if (source / folder / "adapter_config.json").exists():
            raise ModelError(f"{source} has an adapter beside its weights; merge it into them")


def version_of(files: Mapping[str, Path], templates: Sequence[str]) -> str:
    """The SHA-256 of what decides a vector: the content of these files and the templates."""
    contents = {name: _content_hash(path) for name, path in files.items()}
    return _sha256_json({"files": contents, "templates": list(templates)})


def _content_hash(path: Path) -> str:
    """The hash of what a file says to the model: JSON apart from its layout and its provenance."""
    if path.suffix != ".json" or path.name == "tokenizer.json":
        return sha256_of(path)
    content = _read_json(path)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in PASSING}
    return _sha256_json(content)


def _sha256_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error
