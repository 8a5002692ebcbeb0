"""README, --help and docs/ say what the code does."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from schemas.doi import point_id
from tests.support.paths import ROOT
from trainer.cli.commands import cli as trainer_cli
from worker.cli.commands import cli as worker_cli

README = (ROOT / "README.md").read_text()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = sorted((ROOT / "docs" / "operations").glob("*.md"))
READABLE = 100
PLACE = re.compile(
    r"`((?:doivec|schemas|worker|trainer|tests|benchmarks|docs|examples)/(?:[\w./-]*(?:/|\.\w+))?)`"
)


PACKAGES = ("doivec", "schemas", "worker", "trainer")
IN_THE_DATA_DIRECTORY = {"trainer/history.jsonl"}


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
COMMANDS = dict(GENERATE.all_commands())
PROGRAMS = {"doi-worker": worker_cli, "doi-trainer": trainer_cli}


@pytest.mark.parametrize(
    "page", [*(ROOT / page for page in GENERATE.PAGES), *OPERATIONS], ids=lambda p: p.name
)
def test_what_is_generated_within_a_page_is_current(page: Path) -> None:
    text = page.read_text()
    assert GENERATE.renewed(text) == text, "run: python docs/generate.py"


def test_the_command_reference_is_current() -> None:
    assert GENERATE.cli_reference() == (ROOT / "docs" / "cli.md").read_text(), (
        "run: python docs/generate.py"
    )


@pytest.mark.parametrize("path", COMMANDS)
def test_each_command_has_help_and_an_example_that_it_takes(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    if isinstance(command, click.Group):
        return
    assert command.epilog
    words = shlex.split(command.epilog.removeprefix("Example: "))
    words = [word for word in words if not word.startswith("DOIVEC_")]
    assert " ".join(words).startswith(path)
    command.make_context(path, words[len(path.split()) :], resilient_parsing=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_that_the_pages_name_exist(page: Path) -> None:
    for program, name in re.findall(r"(doi-worker|doi-trainer) ([a-z]+)", page.read_text()):
        assert name in PROGRAMS[program].commands, f"{program} {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_settings_that_the_pages_name_exist(page: Path) -> None:
    known = set(re.findall(r"`(DOIVEC_[A-Z0-9_]+)`", GENERATE.settings_table()))
    named = {n.rstrip("_") for n in re.findall(r"DOIVEC_[A-Z0-9_]+", page.read_text())}
    assert named - known - {"DOIVEC_REDIS_PASSWORD", "DOIVEC_QDRANT_API_KEY"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_and_folders_that_the_pages_name_exist(page: Path) -> None:
    for place in set(PLACE.findall(page.read_text())) - IN_THE_DATA_DIRECTORY:
        assert (ROOT / place).exists(), place


def test_the_architecture_names_every_folder() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for package in ("worker", "trainer"):
        for folder in (f.parent.name for f in (ROOT / package).glob("*/__init__.py")):
            assert f'["{folder}/<br>' in page, folder


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_other_programs_are_told_to_import_doivec_alone(page: Path) -> None:
    inside = re.findall(r"(?:from|import) (?:worker|trainer|schemas)[.\w]*", page.read_text())
    assert inside == []


def anchors(page: Path) -> set[str]:
    """What links to a heading of a page end in, by GitHub's rules."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", without_code(page.read_text())):
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


NAMED = [
    *(ROOT / name for name in ("Makefile", "Dockerfile", "docker-compose.yml", "constraints.txt")),
    *(file for file in (ROOT / "deploy").rglob("*") if file.is_file()),
    *(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")),
]


def test_pages_that_the_code_names_exist() -> None:
    for file in NAMED:
        for place in re.findall(r"docs/[\w./-]+\.md", file.read_text()):
            assert (ROOT / place).exists(), f"{file}: {place}"


@pytest.mark.parametrize("page", OPERATIONS, ids=lambda p: p.name)
def test_pages_for_operators_are_found_and_begin_with_their_commands(page: Path) -> None:
    assert f"(operations/{page.name})" in (ROOT / "docs" / "operations.md").read_text()
    text = page.read_text()
    assert re.match(r"# .+\n\n```\n", text)
    prose = [line for line in without_code(text).splitlines() if not line.startswith("|")]
    assert [line for line in prose if len(line) > READABLE] == []


def test_the_point_id_of_the_readme_is_that_of_its_doi() -> None:
    assert f'"query": "{point_id("10.1038/s41586-020-2649-2")}"' in README
