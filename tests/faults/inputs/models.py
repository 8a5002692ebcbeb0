"""A registry's directory: manifests and files that are gone, cut, changed, foreign, or no files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from schemas.model import ModelVersion
from tests.faults.inputs import noise
from tests.faults.inputs.bench import Case, Target
from tests.faults.inputs.truth import check_reason
from worker.errors import ModelError
from worker.model.artefact import deciding_files, version_of
from worker.model.registry import MANIFEST, Registry

TEMPLATES = ("{title}", "{doi}")
FILES = {
    "modules.json": json.dumps(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_P", "type": "sentence_transformers.models.Pooling"},
        ]
    ).encode(),
    "config.json": b'{"model_type": "bert", "hidden_size": 4, "transformers_version": "5.0.0"}',
    "tokenizer.json": b'{"version": "1.0", "model": {"type": "WordPiece"}}',
    "1_P/config.json": b'{"word_embedding_dimension": 4}',
    "model.safetensors": bytes(range(256)),
}
NOTES = {"training.json": b'{"recipe": "title"}'}


@contextmanager
def _open(folder: Path) -> Iterator[Case]:
    first = folder / "first"
    version = _register(first)
    outside = folder / "outside.json"
    outside.write_bytes(b"{}")

    def case(rng: Random) -> bool:
        root = folder / "root"
        shutil.copytree(first, root)
        try:
            for _ in range(rng.choice((1, 1, 2))):
                rng.choice(DAMAGES)(rng, root / version, outside)
            return _looked_at(rng, Registry(root), version)
        finally:
            shutil.rmtree(root)
            assert outside.read_bytes() == b"{}", "written outside of the registry"

    yield case


def _register(root: Path) -> str:
    made = root / "made"
    for name, content in (FILES | NOTES).items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    version = version_of(deciding_files(made), TEMPLATES)
    manifest = ModelVersion(
        version=version,
        name="made",
        dimension=4,
        max_tokens=8,
        templates=TEMPLATES,
        files={name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
        notes={name: hashlib.sha256(content).hexdigest() for name, content in NOTES.items()},
    )
    (made / MANIFEST).write_text(manifest.model_dump_json(indent=2))
    made.rename(root / version)
    return version


def _looked_at(rng: Random, registry: Registry, version: str) -> bool:
    asked = rng.choice((version, version, version[:8], version[:1], noise.text(rng)))
    for look in (registry.versions, lambda: registry.look(asked), lambda: registry.made_at(asked)):
        try:
            look()
        except ModelError as error:
            check_reason(error)
    try:
        path, manifest = registry.get(asked)
    except ModelError as error:
        check_reason(error)
        return False
    assert manifest.version == version, "another version"
    assert manifest.templates == TEMPLATES, "other templates"
    assert manifest.files.keys() == FILES.keys(), "other files"
    for name, content in FILES.items():
        assert _says(name, (path / name).read_bytes()) == _says(name, content), f"{name} differs"
    for name in manifest.notes:
        assert not name.startswith("/"), f"a note outside of the version: {name!r}"
        assert ".." not in name, f"a note outside of the version: {name!r}"
    assert not list(path.rglob("*.bin")), "pickled weights"
    return True


def _says(name: str, content: bytes) -> object:
    """What of a file decides a vector: of JSON not the layout, nor what libraries were used."""
    if not name.endswith(".json") or name == "tokenizer.json":
        return content
    found = json.loads(content)
    return (
        found if isinstance(found, list) else {k: v for k, v in found.items() if "version" not in k}
    )


def _file(rng: Random, path: Path) -> Path:
    return path / rng.choice((*FILES, *NOTES, MANIFEST, MANIFEST, "modules.json"))


def _damage_bytes(rng: Random, path: Path, _: Path) -> None:
    file = _file(rng, path)
    if _is_plain(file):
        file.write_bytes(noise.damaged(rng, file.read_bytes()))


def _is_plain(file: Path) -> bool:
    """Whether it is a file of the version itself: another one is not damaged, a pipe not read."""
    return file.is_file() and not file.is_symlink() and not file.parent.is_symlink()


def _damage_json(rng: Random, path: Path, _: Path) -> None:
    file = path / rng.choice((MANIFEST, MANIFEST, "modules.json", "config.json"))
    if not _is_plain(file):
        return
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return
    file.write_text(json.dumps(noise.mangled(rng, content)), errors="surrogatepass")


def _renote(rng: Random, path: Path, outside: Path) -> None:
    """A manifest that names a file elsewhere as one of its notes, with its true hash."""
    file = path / MANIFEST
    if not _is_plain(file):
        return
    try:
        content = json.loads(file.read_bytes())
        name = rng.choice((str(outside), "../../outside.json", "a/../../../outside.json", "\0", ""))
        content["notes"][name] = hashlib.sha256(b"{}").hexdigest()
        file.write_text(json.dumps(content))
    except (ValueError, LookupError, TypeError, RecursionError):
        return


def _remove(rng: Random, path: Path, _: Path) -> None:
    _gone(_file(rng, path))


def _gone(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def _replace(rng: Random, path: Path, outside: Path) -> None:
    file = _file(rng, path)
    if not file.parent.is_dir():
        return
    _gone(file)
    made: tuple[Callable[[], object], ...] = (
        file.mkdir,
        lambda: file.symlink_to(outside),
        lambda: file.symlink_to(path),
        lambda: file.symlink_to(file.name),
        lambda: file.symlink_to("nowhere"),
        lambda: os.mkfifo(file),
    )
    rng.choice(made)()


def _add(rng: Random, path: Path, outside: Path) -> None:
    names = ("pytorch_model.bin", "x.py", "model2.safetensors", "1_P/config.json.bak", "vocab.txt")
    file = path / rng.choice(
        (*names, "adapter_config.json", "1_P/a.pkl", os.fsdecode(b"\xff\xfe"), "é")
    )
    if not file.parent.is_dir() or file.exists() or file.is_symlink():
        return
    kind = rng.randrange(4)
    if kind == 0:
        file.mkdir()
    elif kind == 1:
        file.symlink_to(outside)
    else:
        file.write_bytes(noise.damaged(rng, b"{}"))


def _beside(rng: Random, path: Path, _: Path) -> None:
    """Something beside the version that is none, or begins as it does."""
    name = rng.choice(
        (f"{path.name[:12]}x", ".gone-x", ".new-x", os.fsdecode(b"\xff"), "a b", path.name[:8])
    )
    folder = path.parent / name
    folder.mkdir(exist_ok=True)
    if rng.random() < 0.7:
        (folder / MANIFEST).write_bytes(noise.damaged(rng, b'{"version": "a", "name": "b"}'))


DAMAGES = (
    *(_damage_bytes, _damage_bytes, _damage_json, _damage_json, _damage_json, _renote),
    *(_remove, _replace, _add, _beside),
)
TARGETS = (Target("model", 30, _open),)
