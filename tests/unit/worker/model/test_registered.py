"""What is said where the settings ask for another model than the live collection has."""

import shutil
from pathlib import Path

import pytest

from schemas.model import collection_name
from tests.support.tiny_model import make_tiny_model
from worker.model.registered import Registered
from worker.model.registry import Registry
from worker.settings.embedding import ModelSettings
from worker.settings.environment import Settings

TEMPLATES = ("{title}", "{doi}")
COMMIT = "c0ffee" * 6 + "0000"


class Home:
    """A registry with the version of a live collection."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.source = make_tiny_model(folder / "model")
        self._data = folder / "data"
        registry = Registry(self._data / "models")
        made = registry.register(self.source, name=name or str(self.source), templates=TEMPLATES)
        self.live = collection_name("dois", made.version)

    def words(self, **model: object) -> str | None:
        settings = Settings(data_dir=self._data, model=ModelSettings.model_validate(model))
        return Registered(settings).unheeded(self.live)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_nothing_is_said_where_nothing_is_asked_or_it_is_so(home: Home) -> None:
    assert home.words() is None, "the default is no wish"
    assert home.words(name=str(home.source), templates=TEMPLATES) is None


def test_other_templates_are_named_with_those_in_force_and_the_way(home: Home) -> None:
    words = home.words(templates=["{title}. {abstract}", "{title}'s"])
    assert words
    assert words.startswith(
        'DOIVEC_MODEL__TEMPLATES=["{title}. {abstract}", "{title}\'s"] without effect'
    )
    assert f"{home.live} is of the model {home.source}" in words
    assert 'which reads by ["{title}", "{doi}"]' in words
    command = """doi-trainer template '["{title}. {abstract}", "{title}'"'"'s"]'`"""
    assert command in words, "as a shell takes it"
    assert "`doi-trainer promote`" in words
    assert "NAME" not in words


def test_another_model_is_told_by_its_weights_not_by_its_name(home: Home, tmp_path: Path) -> None:
    moved = shutil.copytree(home.source, tmp_path / "moved")
    assert home.words(name=str(moved)) is None
    other = make_tiny_model(tmp_path / "other", seed=1)
    words = home.words(name=str(other))
    assert words
    assert f"DOIVEC_MODEL__NAME={other} without effect" in words
    assert f"""doi-trainer template '["{{title}}", "{{doi}}"]' --of {other}`""" in words
    both = home.words(name="base", templates=["{doi}"])
    assert both
    assert both.startswith('DOIVEC_MODEL__NAME=base and DOIVEC_MODEL__TEMPLATES=["{doi}"] without')


def test_a_model_that_is_no_longer_there_is_another_one(home: Home, tmp_path: Path) -> None:
    (home.source / "modules.json").unlink()
    words = home.words(name=str(home.source))
    assert words
    assert "without effect" in words
    assert home.words(name=str(tmp_path / "gone"))


def test_a_hub_model_is_told_by_its_commit_without_fetching_it(tmp_path: Path) -> None:
    home = Home(tmp_path, name=f"somebody/model@{COMMIT}")
    assert home.words(name="somebody/model", revision=COMMIT) is None
    words = home.words(name="somebody/model", revision="f" * 40)
    assert words
    assert f"--of somebody/model@{'f' * 40}`" in words


def test_a_registry_without_the_live_model_says_nothing(home: Home) -> None:
    home.live = collection_name("dois", "f" * 64)
    assert home.words(templates=["{title}"]) is None
