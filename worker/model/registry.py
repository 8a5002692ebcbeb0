"""Model versions on disk: `<root>/<version>/`, each a sentence-transformers directory."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from schemas.model import InvalidTemplate, ModelVersion, check_templates
from worker.errors import ModelError
from worker.files import sync, write_text
from worker.model.artefact import deciding_files, sha256_of, version_of

MANIFEST = "doivec.json"
MADE, GONE = ".new-", ".gone-"
UNSAFE = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py"}


class Registry:
    """The model versions below `root`, each in a directory of its name."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def versions(self) -> list[str]:
        """The registered versions, sorted."""
        manifests = (path for path in self._root.glob(f"*/{MANIFEST}") if path.is_file())
        found = (path.parent.name for path in manifests)
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
        with _readable(path):
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
        is there already is left as it is, but for notes under names that it has not yet. Several
        processes take turns; what a killed one left behind is removed. Raises `ModelError`, also
        where the model gives a text another vector beside other texts.
        """
        version = identify(source, templates=templates)
        if version in self.versions() and not notes.keys() - self.look(version)[1].notes.keys():
            return self.get(version)[1]
        with self._locked():
            if version in self.versions():
                self._add_notes(version, notes)
            else:
                self._take_in(version, source, name=name, templates=templates, notes=notes)
        return self.get(version)[1]

    def retemplate(self, version: str, *, templates: Sequence[str]) -> ModelVersion:
        """Register the weights of a version under other templates, and its notes with them.

        What the weights were trained on, and so what can't judge them, is in the notes. Raises
        `ModelError`.
        """
        path, manifest = self.get(version)
        notes = {name: (path / name).read_text("utf-8") for name in manifest.notes}
        return self.register(path, name=manifest.name, templates=templates, notes=notes)

    def prepare(self) -> None:
        """See that a version could be kept, before hours are spent on it; raises `ModelError`."""
        with self._locked(), tempfile.TemporaryDirectory(dir=self._root, prefix=MADE):
            pass

    def remove(self, version: str) -> None:
        """Forget a version and remove its files; one that isn't there is no error."""
        if version in self.versions():
            self._discard(version)

    def made_at(self, version: str) -> float:
        """When a version was registered, in seconds since 1970: its files are written once."""
        path, manifest = self.look(version)
        with _readable(path):
            return min((path / name).stat().st_mtime for name in manifest.files)

    def clear(self) -> None:
        """Remove what is left of versions whose registration or removal was cut off."""
        with self._locked():
            pass

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the registry for writing; what is half made in it then was left by the dead."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with (self._root / ".lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                for left in (*self._root.glob(f"{MADE}*"), *self._root.glob(f"{GONE}*")):
                    shutil.rmtree(left, ignore_errors=True)
                yield
        except OSError as error:
            raise ModelError(f"a model can't be kept in the registry: {error}") from error

    def _take_in(
        self,
        version: str,
        source: Path,
        *,
        name: str,
        templates: Sequence[str],
        notes: Mapping[str, str],
    ) -> None:
        from worker.model.reference import describe  # noqa: PLC0415 - loads numpy, tokenizers

        with tempfile.TemporaryDirectory(dir=self._root, prefix=MADE) as made:
            target = Path(made) / version
            for relative, path in deciding_files(source).items():
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / relative)
            for note, text in notes.items():
                (target / note).write_text(text, "utf-8")
            manifest = describe(target, name=name, templates=templates)
            hashes = {note: sha256_of(target / note) for note in notes}
            _write_manifest(target, manifest.model_copy(update={"notes": hashes}))
            for path in [*target.rglob("*"), target]:
                sync(path)
            if (self._root / version).exists():  # without a manifest: it is no version
                self._discard(version)
            target.replace(self._root / version)
            sync(self._root)

    def _add_notes(self, version: str, notes: Mapping[str, str]) -> None:
        path, manifest = self.get(version)
        added = {note: text for note, text in notes.items() if note not in manifest.notes}
        for note, text in added.items():
            write_text(path / note, text)
        hashes = {note: sha256_of(path / note) for note in added}
        _write_manifest(path, manifest.model_copy(update={"notes": manifest.notes | hashes}))

    def _discard(self, version: str) -> None:
        gone = self._root / f"{GONE}{version}"
        shutil.rmtree(gone, ignore_errors=True)
        (self._root / version).rename(gone)  # at once: nobody sees half of it
        sync(self._root)
        shutil.rmtree(gone, ignore_errors=True)

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


def _write_manifest(path: Path, manifest: ModelVersion) -> None:
    write_text(path / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def _read_manifest(path: Path) -> ModelVersion:
    try:
        return ModelVersion.model_validate_json((path / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(f"the manifest of {path.name} can't be read: {reason}") from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise `ModelError` where a version's files can't be looked at."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"the model version {path.name} can't be read: {error}") from error
