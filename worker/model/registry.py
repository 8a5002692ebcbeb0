"""Model versions on disk: `<root>/<version>/`, each a sentence-transformers directory."""

import base64
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from schemas.model import Canary, InvalidTemplate, ModelVersion, check_templates
from worker.errors import ModelError
from worker.files import sync
from worker.model.artefact import deciding_files, sha256_of, version_of
from worker.model.embedder import Embedder

MANIFEST = "doivec.json"
GONE = ".gone-"
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
        found = (path.parent.name for path in self._root.glob(f"*/{MANIFEST}"))
        return sorted(name for name in found if not name.startswith(GONE))

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
                    for relative, path in deciding_files(source).items():
                        (target / relative).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(path, target / relative)
                    for note, text in notes.items():
                        (target / note).write_text(text, "utf-8")
                    manifest = _describe(target, name=name, templates=templates)
                    hashes = {note: sha256_of(target / note) for note in notes}
                    self._take_in(target, manifest.model_copy(update={"notes": hashes}))
        except OSError as error:
            raise ModelError(
                f"the model {name!r} can't be kept in the registry: {error}"
            ) from error
        return self.get(version)[1]

    def remove(self, version: str) -> None:
        """Forget a version and remove its files; one that isn't there is no error."""
        path = self._root / version
        if version in self.versions():
            gone = self._root / f"{GONE}{version}"
            shutil.rmtree(gone, ignore_errors=True)
            path.rename(gone)  # at once: nobody sees half of it
            sync(self._root)
            shutil.rmtree(gone, ignore_errors=True)

    def made_at(self, version: str) -> float:
        """When a version was registered, in seconds since 1970: its manifest is written once."""
        return (self.look(version)[0] / MANIFEST).stat().st_mtime

    def clear(self) -> None:
        """Remove what is left of versions whose removal was cut off."""
        for path in self._root.glob(f"{GONE}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _take_in(self, target: Path, manifest: ModelVersion) -> None:
        (target / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        for path in [*target.rglob("*"), target]:
            sync(path)
        try:
            target.replace(self._root / manifest.version)
        except OSError:
            if manifest.version not in self.versions():  # else another process was first
                raise
        sync(self._root)

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
    return version_of(deciding_files(source), _checked(templates))


def _describe(path: Path, *, name: str, templates: Sequence[str]) -> ModelVersion:
    files = deciding_files(path)
    reference = Embedder.load_reference(path)
    vectors = reference.encode(CANARY_TEXTS)
    canaries = (
        Canary(text=text, vector=base64.b64encode(vector.astype("<f4").tobytes()).decode())
        for text, vector in zip(CANARY_TEXTS, vectors, strict=True)
    )
    return ModelVersion(
        version=version_of(files, templates),
        name=name,
        dimension=reference.dimension,
        max_tokens=reference.max_tokens,
        templates=tuple(templates),
        files={relative: sha256_of(file) for relative, file in files.items()},
        canaries=tuple(canaries),
    )


def _checked(templates: Sequence[str]) -> tuple[str, ...]:
    try:
        return check_templates(templates)
    except InvalidTemplate as error:
        raise ModelError(str(error)) from error


def _refuse_unsafe(path: Path) -> None:
    for file in path.rglob("*"):
        if file.suffix in UNSAFE:
            what = "code" if file.suffix == ".py" else "pickled weights"
            raise ModelError(f"the model version {path.name} holds {what}: {file.name}")


def _compare(path: Path, manifest: ModelVersion) -> None:
    found = deciding_files(path)
    for name in manifest.files.keys() - found.keys():
        raise ModelError(f"the model version {path.name} lacks its file {name}")
    for name, file in [*found.items(), *((note, path / note) for note in manifest.notes)]:
        if not file.is_file() or sha256_of(file) != (manifest.files | manifest.notes).get(name):
            raise ModelError(f"the file {name} of model version {path.name} was changed")
    if not manifest.version == path.name == version_of(found, manifest.templates):
        raise ModelError(f"the manifest of model version {path.name} was changed")


def _read_manifest(path: Path) -> ModelVersion:
    try:
        return ModelVersion.model_validate_json((path / MANIFEST).read_text("utf-8"))
    except (OSError, ValidationError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(f"the manifest of {path.name} can't be read: {reason}") from error
