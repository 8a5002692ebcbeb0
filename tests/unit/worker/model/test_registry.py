import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from schemas.model import ModelVersion
from tests.support.tiny_model import make_tiny_model
from worker.errors import ModelError
from worker.model.origin import resolve_source
from worker.model.registry import MANIFEST, Registry, identify

TEMPLATES = ("{doi}",)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture(scope="module")
def pristine(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    Registry(root).register(source, name="tiny", templates=TEMPLATES)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "models")


@pytest.fixture
def model(source: Path, tmp_path: Path) -> Path:
    return shutil.copytree(source, tmp_path / "model")


def only(root: Path) -> Path:
    return root / Registry(root).versions()[0]


def register(root: Path, model: Path, templates: tuple[str, ...] = TEMPLATES) -> ModelVersion:
    return Registry(root).register(model, name="tiny", templates=templates)


def names(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name != ".lock"]


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_version_is_found_by_its_name_and_by_a_prefix(root: Path) -> None:
    version = Registry(root).versions()[0]
    path, manifest = Registry(root).get(version[:16])
    assert (path, manifest.version) == (root / version, version)
    assert (manifest.name, manifest.dimension, manifest.max_tokens) == ("tiny", 32, 64)
    assert manifest.templates == TEMPLATES
    assert "model.safetensors" in manifest.files
    assert len(manifest.canaries) == 4


def test_only_what_decides_a_vector_is_kept(root: Path, model: Path) -> None:
    (model / "README.md").write_text("# Tiny")
    (model / ".gitattributes").write_text("*.bin filter=lfs")
    edit(model / "config.json", transformers_version="5.0.0", _name_or_path="elsewhere")
    (model / "data_config.json").write_text("[]")
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    again = register(root, model)
    assert Registry(root).versions() == [again.version]
    kept = {path.name for path in only(root).rglob("*") if path.is_file()}
    assert kept == {Path(name).name for name in again.files} | {MANIFEST}


def test_a_new_layout_of_the_same_json_is_the_same_version(root: Path, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config, indent=4, sort_keys=True))
    assert register(root, model).version == only(root).name


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("sentence_bert_config.json", {"max_seq_length": 32}),
        ("config.json", {"layer_norm_eps": 1e-6}),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("tokenizer_config.json", {"do_lower_case": False}),
    ],
)
def test_what_decides_a_vector_decides_the_version(
    root: Path, model: Path, file: str, change: dict[str, object]
) -> None:
    edit(model / file, **change)
    register(root, model)
    assert len(Registry(root).versions()) == 2


def test_prompts_templates_and_weights_decide_the_version(root: Path, tmp_path: Path) -> None:
    prompted = make_tiny_model(tmp_path / "prompted")
    (prompted / "config_sentence_transformers.json").write_text(
        '{"prompts": {"doi": "doi: "}, "default_prompt_name": "doi"}'
    )
    register(root, prompted)
    register(root, make_tiny_model(tmp_path / "other", seed=1))
    register(root, make_tiny_model(tmp_path / "titled"), ("{title}", "{doi}"))
    assert len(Registry(root).versions()) == 4


def test_two_at_once_register_one_version(source: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as both:
        made = list(both.map(lambda _: register(tmp_path / "models", source), range(2)))
    assert made[0] == made[1]
    assert names(tmp_path / "models") == [made[0].version]


def test_a_removal_that_was_cut_off_leaves_no_version(root: Path) -> None:
    registry, version = Registry(root), only(root).name
    left = only(root).rename(root / f".gone-{version}")
    assert registry.versions() == []
    with pytest.raises(ModelError, match="has no model version"):
        registry.look(f".gone-{version}")
    registry.clear()
    assert not left.exists()


def test_a_version_was_made_when_its_files_were_written(root: Path) -> None:
    for file in (path for path in only(root).rglob("*") if path.is_file()):
        os.utime(file, (1000, 1000))
    os.utime(only(root) / MANIFEST)  # as when another run is noted
    (only(root) / "card.md").write_text("later")
    assert Registry(root).made_at(only(root).name) == 1000


def test_an_unknown_or_ambiguous_version_is_refused(root: Path, source: Path) -> None:
    with pytest.raises(ModelError, match="has no model version 'ffff'"):
        Registry(root).get("ffff")
    with pytest.raises(ModelError, match="has no model version ''"):
        Registry(root).get("")
    shared = {}
    for number in range(17):  # of 17 versions, two share their first character
        manifest = only(root).name if number == 0 else f"{number:x}{'0' * 63}"
        shared[manifest[0]] = shared.get(manifest[0], 0) + 1
        (root / manifest).mkdir(exist_ok=True)
        (root / manifest / MANIFEST).touch()
    twice = next(first for first, count in shared.items() if count > 1)
    with pytest.raises(ModelError, match="could be any of"):
        Registry(root).get(twice)


def test_a_changed_file_is_refused(root: Path) -> None:
    weights = only(root) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match=r"the file model\.safetensors of .* was changed"):
        Registry(root).get(only(root).name)


def test_notes_decide_no_version_but_may_not_be_changed(tmp_path: Path, source: Path) -> None:
    registry = Registry(tmp_path / "registry")
    notes = {"training.json": '{"recipe": "seed"}'}
    made = registry.register(source, name="noted", templates=TEMPLATES, notes=notes)
    assert made.version == register(tmp_path / "other", source).version
    path, manifest = registry.get(made.version)
    assert manifest.notes.keys() == notes.keys()
    assert registry.look(made.version) == (path, manifest)
    more = notes | {"training.json": "other", "training-2.json": "another run's"}
    again = registry.register(source, name="another", templates=TEMPLATES, notes=more)
    assert again.notes.items() >= manifest.notes.items(), "what was noted stays"
    assert again.notes.keys() == more.keys()
    assert (again.name, again.canaries) == (manifest.name, manifest.canaries)
    assert (path / "training-2.json").read_text() == "another run's"
    for change in (lambda file: file.write_text("{}"), Path.unlink):
        change(path / "training.json")
        with pytest.raises(ModelError, match=r"training\.json .* was changed"):
            registry.get(made.version)


def test_what_a_crash_left_in_place_of_a_version_is_replaced(tmp_path: Path, source: Path) -> None:
    version = identify(source, templates=TEMPLATES)
    root = tmp_path / "models"
    for left in (version, ".new-x/half", ".gone-y"):
        (root / left).mkdir(parents=True)
        (root / left / "model.safetensors").write_bytes(b"half")
    assert register(root, source).version == version
    assert names(root) == [version]


def test_whether_a_version_could_be_kept_is_known_before_there_is_one(tmp_path: Path) -> None:
    Registry(tmp_path / "models").prepare()
    assert names(tmp_path / "models") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="can't be kept in the registry"):
        Registry(tmp_path / "file").prepare()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("tokenizer_config.json", {"padding_side": "left"}),
        ("tokenizer_config.json", {"model_input_names": ["input_ids"]}),
        ("config.json", {"is_causal": True}),
    ],
)
def test_a_model_whose_vectors_depend_on_the_batch_is_refused(
    tmp_path: Path, model: Path, file: str, change: dict[str, object]
) -> None:
    edit(model / file, **change)
    with pytest.raises(ModelError, match="another vector beside other texts than alone"):
        register(tmp_path / "models", model)
    assert names(tmp_path / "models") == []


def test_a_model_that_can_embed_nothing_is_refused_in_one_line(tmp_path: Path, model: Path) -> None:
    edit(model / "tokenizer_config.json", additional_special_tokens=["10.1038/"])  # has no row
    with pytest.raises(ModelError, match="can't embed a text") as refusal:
        register(tmp_path / "models", model)
    assert "\n" not in str(refusal.value)


def test_a_model_with_an_adapter_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="merge it"):
        register(tmp_path / "models", model)


def test_a_missing_file_is_refused(root: Path) -> None:
    (only(root) / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"lacks its file tokenizer\.json"):
        Registry(root).get(only(root).name)


def test_an_added_file_that_decides_is_refused(root: Path) -> None:
    (only(root) / "added_tokens.json").write_text("{}")
    with pytest.raises(ModelError, match=r"the file added_tokens\.json of .* was changed"):
        Registry(root).get(only(root).name)


def test_a_changed_template_is_refused(root: Path) -> None:
    edit(only(root) / MANIFEST, templates=["{title}"])
    with pytest.raises(ModelError, match=r"the manifest .* was changed"):
        Registry(root).get(only(root).name)


def test_a_broken_manifest_is_refused_in_one_line(root: Path) -> None:
    (only(root) / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match=r"the manifest .* can't be read") as refusal:
        Registry(root).get(only(root).name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "x.pkl", "modeling.py"])
def test_pickled_weights_and_code_in_a_version_are_refused(root: Path, name: str) -> None:
    (only(root) / "1_Pooling" / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds (code|pickled weights)"):
        Registry(root).get(only(root).name)


def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path, model: Path) -> None:
    edit(model / "config.json", auto_map={"AutoModel": "modeling.Model"})
    with pytest.raises(ModelError, match="code of its own"):
        register(tmp_path / "models", model)


def test_a_module_from_elsewhere_is_refused(tmp_path: Path, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["type"] = "custom_pooling.Pooling"
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match=r"code of its own: custom_pooling\.Pooling"):
        register(tmp_path / "models", model)


def test_a_module_outside_of_the_directory_is_refused(tmp_path: Path, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules[1]["path"] = "../1_Pooling"
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="outside of the model"):
        register(tmp_path / "models", model)


def test_a_model_with_pickled_weights_alone_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled ones are not loaded"):
        register(tmp_path / "models", model)


@pytest.mark.parametrize("content", ["{}", "[1]", "nothing", '[{"type": 1}]'])
def test_what_is_no_model_is_refused(tmp_path: Path, model: Path, content: str) -> None:
    (model / "modules.json").write_text(content)
    with pytest.raises(ModelError):
        register(tmp_path / "models", model)
    with pytest.raises(ModelError, match=r"no modules\.json"):
        register(tmp_path / "models", tmp_path)


def test_a_bad_template_is_refused(tmp_path: Path, source: Path) -> None:
    with pytest.raises(ModelError, match=r"asks for \{author\}"):
        register(tmp_path / "models", source, ("{author}",))


def test_a_registry_that_can_not_be_written_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(ModelError, match="can't be kept"):
        register(tmp_path / "models", source)


def test_the_base_model_is_there_and_is_the_pinned_one() -> None:
    assert (resolve_source("base") / "modules.json").is_file()


def test_a_directory_is_its_own_source(source: Path) -> None:
    assert resolve_source(str(source)) == source


@pytest.mark.parametrize("revision", [None, "main", "v2.0"])
def test_a_hub_name_needs_a_commit(revision: str | None) -> None:
    with pytest.raises(ModelError, match="40 hexadecimal characters"):
        resolve_source("sentence-transformers/all-MiniLM-L6-v2", revision)


def test_a_directory_that_is_not_there_is_not_taken_for_a_hub_name() -> None:
    with pytest.raises(ModelError, match="no model directory"):
        resolve_source("/nowhere/model")


def test_the_same_weights_under_other_templates_keep_their_notes(root: Path) -> None:
    registry = Registry(root)
    source = registry.get(registry.versions()[0])[0]
    first = registry.register(
        source, name="tiny", templates=["{title}"], notes={"training-1.json": "{}"}
    )
    (source.parent / first.version / "evaluation.json").write_text("[]")
    other = registry.retemplate(first.version[:12], templates=("{title}. {abstract}", "{title}"))
    assert other.version != first.version
    assert (other.name, other.files, other.canaries) == (first.name, first.files, first.canaries)
    assert other.templates == ("{title}. {abstract}", "{title}")
    path = registry.get(other.version)[0]
    assert (path / "training-1.json").read_text() == "{}"
    assert not (path / "evaluation.json").exists(), "figures are of the texts that were read"
    assert registry.retemplate(other.version, templates=("{title}",)) == first
    with pytest.raises(ModelError, match="asks for"):
        registry.retemplate(first.version, templates=("{author}",))


@pytest.mark.parametrize("name", ["../../outside.json", "/etc/hostname", "a/../../b", "", "a\0b"])
def test_a_manifest_that_names_files_elsewhere_is_refused(root: Path, name: str) -> None:
    (root.parent / "outside.json").write_text("{}")
    for field in ("notes", "files"):
        manifest = only(root) / MANIFEST
        content = json.loads(manifest.read_text())
        edit(manifest, **{field: content[field] | {name: sha256(b"{}").hexdigest()}})
        with pytest.raises(ModelError, match="can't be read"):
            Registry(root).get(only(root).name)
        edit(manifest, **{field: content[field]})


def test_a_manifest_that_is_no_text_or_no_file_is_refused(root: Path) -> None:
    version = only(root)
    content = (version / MANIFEST).read_bytes()
    (version / MANIFEST).write_bytes(content.replace(b"tiny", b"t\xffny"))
    with pytest.raises(ModelError, match="can't be read"):
        Registry(root).get(version.name)
    (version / MANIFEST).unlink()
    os.mkfifo(version / MANIFEST)
    with pytest.raises(ModelError, match="no model version"):
        Registry(root).get(version.name)


@pytest.mark.parametrize("folder", [None, 7, {"a": 1}, "a\0b", "\ud800", "x" * 5000])
def test_a_module_whose_folder_is_none_is_refused(root: Path, folder: object) -> None:
    modules = only(root) / "modules.json"
    content = json.loads(modules.read_text())
    content[0]["path"] = folder
    modules.write_text(json.dumps(content))
    with pytest.raises(ModelError):
        Registry(root).get(only(root).name)


def test_json_that_is_nested_without_end_is_refused(root: Path) -> None:
    (only(root) / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError):
        Registry(root).get(only(root).name)


def test_the_age_of_a_version_that_lacks_a_file_is_not_told(root: Path) -> None:
    version = only(root)
    (version / "config.json").unlink()
    with pytest.raises(ModelError, match=version.name):
        Registry(root).made_at(version.name)
