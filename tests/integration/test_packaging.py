"""doivec as it is installed: a wheel outside of the checkout, and folders of strangers."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import doivec
from tests.support.deployment import deployed
from tests.support.paths import EXAMPLES, ROOT
from tests.support.servers import wait_until
from tests.support.shell import SCRIPTS, TRAINER, WORKER, Shell
from tests.support.tiny_model import make_tiny_model

PACKAGES = ("doivec", "schemas", "worker", "trainer")
DEMO = re.compile(r"^\t\$\(BIN\)/(doi-worker .*)$", re.MULTILINE)
CLIENT = """
import doivec
from pydantic import SecretStr
redis = doivec.RedisSettings(url=SecretStr("redis://localhost:6379/1"))
settings = doivec.Settings(collection="papers", redis=redis)
reveal_type(doivec.enqueue([{"doi": "10.1038/nphys1170"}], settings=settings))
reveal_type(doivec.search("10.1038/nphys1170", k=3, settings=doivec.Settings())[0].score)
doivec.enqueue(42)
"""
# What Python, Celery and others import where they find it.
FOUND_IF_THERE = ("celeryconfig", "sitecustomize", "usercustomize", "django", "brotli", "uvloop")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    return next(folder.glob("doivec-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment that holds the wheel.

    What it depends on comes from the tests' environment, whose own doivec is out of sight: it is
    an editable one, and only a site's own folder has its .pth files read.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], check=True)
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_everything_that_runs_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {Path(name).suffix or Path(name).name for name in wanted} >= {".lua", ".toml", ".typed"}
    assert {name for name in names if ".dist-info/" not in name} == wanted
    for field in ("Project-URL: Documentation", "Classifier: Operating System", "License-File"):
        assert field in metadata


def test_what_the_source_imports_is_among_the_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w-]", line)[0].replace("_", "-") for line in project["dependencies"]}
    owners = packages_distributions()
    found = {
        name.split(".")[0]
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
    }
    for name in sorted(found - set(PACKAGES) - sys.stdlib_module_names):
        owned = {owner.lower().replace("_", "-") for owner in owners[name]}
        assert owned & declared, f"{name} is imported and not among the dependencies"


def without_scores(answer: str) -> str:
    """What a search prints, whatever the width of the terminal; scores differ with the CPU."""
    return " ".join(re.sub(r"^0\.[0-9]{4} ", "", answer, flags=re.MULTILINE).split())


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_demo_runs_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, scripts=installed)
    commands = DEMO.findall((ROOT / "Makefile").read_text())
    words = [shlex.split(command)[1:] for command in commands]
    assert [first for first, *_ in words] == ["ingest", "search", "search"]
    shutil.copytree(EXAMPLES.parent, tmp_path / "examples")
    ingested, *found = [shell.worker(*command) for command in words]
    assert "stored 977" in ingested
    readme = (ROOT / "README.md").read_text()
    for command, answer in zip(commands[1:], found, strict=True):
        shown = readme.partition(f"$ {command}\n")[2].partition("\n\n")[0].partition("```")[0]
        told, seen = without_scores(shown), without_scores(answer)
        assert told == seen, "README shows what the demo prints"


def test_a_client_program_finds_the_types(installed: Path, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(CLIENT)
    command = [str(SCRIPTS / "mypy"), "--python-executable", str(installed / "python")]
    command += ["--config-file", "", "--strict", "--follow-imports", "silent", "--no-incremental"]
    done = subprocess.run(
        [*command, str(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert said[:2] == ['note: Revealed type is "str"', 'note: Revealed type is "float"']
    assert "incompatible type" in said[2]
    assert not any(said[3:])


@pytest.fixture(params=["worker.py", "worker/__init__.py"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with modules of the names of ours and of what we import, each of which tells."""
    told = tmp_path / "told"
    folder = tmp_path / "strange"
    names = {*sys.stdlib_module_names, *packages_distributions(), *PACKAGES, *FOUND_IF_THERE}
    code = f"open({str(told)!r}, 'a').write(__name__ + chr(10))\nraise SystemExit(66)\n"
    plain = {f"{name}.py" for name in names - {"schemas"} if name.isidentifier()}
    for name in {request.param, "schemas/__init__.py", *plain}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    server = folder / "redis-server"
    server.write_text(f"#!/bin/sh\necho redis-server >> {told}\n")
    server.chmod(0o755)
    shutil.copy(EXAMPLES, folder / "dois.txt")
    return folder


def assert_nothing_told(strange: Path) -> None:
    told = strange.parent / "told"
    assert not told.exists(), told.read_text()


@pytest.mark.parametrize(
    ("strange", "kind"),
    [("worker.py", "editable"), ("worker/__init__.py", "wheel")],
    indirect=["strange"],
)
def test_no_strangers_code_is_run(kind: str, strange: Path, request: pytest.FixtureRequest) -> None:
    scripts = SCRIPTS if kind == "editable" else request.getfixturevalue("installed")
    shell = Shell(
        strange,
        scripts=scripts,
        DOIVEC_MODEL__NAME=str(make_tiny_model(strange.parent / "model")),
        DOIVEC_DATA_DIR=str(strange.parent / "data"),
        PATH=f":{os.environ['PATH']}",  # an empty part is the current folder
    )
    assert "dead 0" in shell.worker("ingest", "dois.txt")
    assert shell.worker("search", "--all", "--text", "10.1038", "-k", "1")
    shell.run(TRAINER, "versions")
    assert_nothing_told(strange)


@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_the_path_has_no_relative_part(kind: str, request: pytest.FixtureRequest) -> None:
    scripts = SCRIPTS if kind == "editable" else request.getfixturevalue("installed")
    code = "import sys, trainer.tasks, worker.tasks; print(*sys.path, sep='\\n')"
    command = [str(scripts / "python"), "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert all(Path(part).is_absolute() for part in done.stdout.splitlines())


def test_djangos_fix_up_stays_away(tmp_path: Path) -> None:
    """Celery's, which puts the current folder first on the path."""
    (tmp_path / "django").mkdir()
    (tmp_path / "django" / "__init__.py").write_text("VERSION = (9, 9, 9)\n")
    code = "import os, sys, trainer.tasks, worker.tasks; print(os.getcwd() in sys.path)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "settings"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path.parent,
    )
    assert done.stdout == "False\n"


def says(log: Path, words: str) -> bool:
    return words in log.read_text()


@pytest.mark.parametrize("strange", ["worker.py"], indirect=True)
def test_no_strangers_code_is_run_on_servers(strange: Path) -> None:
    model = make_tiny_model(strange.parent / "model")
    with deployed(strange.parent / "servers", model=model) as made:
        shell = Shell(strange, **made.environment)
        commands = {WORKER: "run", TRAINER: "run", f"{TRAINER} beat": "schedule"}
        logs = {name: strange.parent / f"{name}.log" for name in commands}
        processes = []
        try:
            for name, command in commands.items():
                with logs[name].open("w") as output:
                    processes.append(shell.start(name.split()[0], command, output=output))
            job = doivec.enqueue(["10.1038/nphys1170"], settings=made.settings)
            assert made.settled(job).stored == 1
            for name, ready in ((TRAINER, " ready."), (f"{TRAINER} beat", "beat: Starting")):
                wait_until(
                    lambda n=name, r=ready: r in logs[n].read_text(), what=logs[name].read_text
                )
            for process in processes:
                process.terminate()
            assert [process.wait(60) for process in processes] == [0, 0, 0]
        finally:
            for process in processes:
                process.kill()
    assert_nothing_told(strange)
