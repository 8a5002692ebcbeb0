"""The structure that the design promises, read from the code itself."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from tests.support.paths import ROOT

PACKAGES = ("doivec", "schemas", "worker", "trainer")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
# From the ground up: a room (a folder, or a module beside the folders) imports what stands below
# it, never what stands above it or on its own line; the ground's modules may import each other.
FLOORS = {
    "worker": [
        {
            *("settings", "addresses", "errors", "files", "patience", "ticker"),
            *("telemetry", "metrics", "exposition", "logs"),
        },
        {"store", "sources"},
        {"ledger", "contents", "metadata"},
        {"model"},
        {"ingest", "search", "export", "audit", "verification", "moving"},
        {"stopping", "threads", "completion"},
        {"app", "embedded"},
        {"bootstrap", "doctor"},
        {"runtime", "lookups"},
        {"tasks", "cli"},
    ],
    "trainer": [
        {"errors", "history", "alone", "records", "pace"},
        {"data", "card"},
        {"stores"},
        {"training"},
        {"evaluation", "promotion"},
        {"refinement"},
        {"bootstrap"},
        {"tasks"},
        {"cli"},
    ],
}
ALLOWED = {
    "schemas": {"schemas"},
    "worker": {"schemas", "worker"},
    "trainer": {"schemas", "worker", "trainer"},
    "doivec": {"schemas", "worker", "doivec"},
}
# Only these rooms of the trainer (and `doivec`) reach the upper floors of the worker.
UPPER = {
    "worker.app": {"trainer.tasks"},
    "worker.stopping": {"trainer.tasks"},
    "worker.embedded": {"trainer.bootstrap"},
    "worker.search": {"trainer.promotion"},
    "worker.completion": set(),
    "worker.ingest": {"trainer.promotion"},
    "worker.bootstrap": {"trainer.bootstrap", "doivec.client"},
    "worker.runtime": {"trainer.bootstrap"},
    "worker.lookups": set(),
    "worker.tasks": set(),
    "worker.cli": {"trainer.cli"},
}
TRAINS = ("train", "following")
ROOMS = {
    "torch": {
        *(f"worker/model/{name}.py" for name in ("embedder", "forward", "devices")),
        *(f"trainer/training/{name}.py" for name in (*TRAINS, "packed", "graphed", "weights")),
    },
    "transformers": {
        *("worker/model/embedder.py", "worker/model/forward.py"),
        *(f"trainer/training/{name}.py" for name in TRAINS),
    },
    "sentence_transformers": {
        "worker/model/embedder.py",
        *("trainer/training/train.py", "trainer/training/tables.py"),
    },
    "datasets": {"trainer/training/train.py", "trainer/training/tables.py"},
    "matplotlib": {f"trainer/card/{name}.py" for name in ("drawing", "plots", "timeline")},
    "pyarrow": {
        "worker/export.py",
        "worker/sources/parquet.py",
        *(
            f"trainer/data/{name}.py"
            for name in ("shards", "table", "pairs", "pair_files", "metadata", "held_out")
        ),
    },
    "bibtexparser": {"worker/sources/bibtex.py"},
    "pylatexenc": {"worker/sources/latex.py"},
    "openpyxl": {"worker/sources/workbook.py"},
    "zstandard": {"worker/sources/compression.py", "worker/metadata/bodies.py"},
    "prometheus_client": {
        *("worker/metrics.py", "worker/exposition.py", "worker/ingest/vitals.py"),
        "trainer/refinement/vitals.py",
    },
    "safetensors": {
        "worker/model/forward.py",
        *(f"trainer/training/{name}.py" for name in TRAINS),
    },
    "tokenizers": {"worker/model/checkpoint.py"},
    "redis": {"worker/ledger/failures.py", "worker/ledger/state.py"},
    "grpc": {"worker/store/failures.py"},
    "httpx2": {
        *("worker/metadata/registries/client.py", "worker/metadata/registries/redirects.py"),
        "trainer/card/push.py",
    },
    "tenacity": {"worker/patience.py", "worker/metadata/registries/client.py"},
    "kombu": {"worker/app.py", "trainer/tasks.py", "trainer/refinement/beat.py"},
    "qdrant_client": {
        f"worker/store/{name}.py"
        for name in ("server", "connection", "aliases", "messages", "failures")
    },
    "qdrant_edge": {"worker/store/edge.py", "worker/store/shard.py"},
    "celery": {
        *("worker/app.py", "worker/tasks.py", "worker/stopping.py", "worker/threads.py"),
        *("worker/bootstrap.py", "worker/runtime.py"),
        *("trainer/tasks.py", "trainer/refinement/beat.py", "trainer/refinement/slots.py"),
    },
}
LONGEST_LINES = 40
MEDIAN_LINES = 8


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path): path for path in MODULES}


def imports(path: Path) -> Iterator[str]:
    """The modules that a module imports, inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield ast.unparse(node.args[0]).strip("'")
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


def room(module: str) -> str:
    """The folder of a module, or the module itself where it stands beside the folders."""
    return ".".join(module.split(".")[:2]) if "." in module else f"{module}.{module}"


ARROWS = sorted(
    {
        (room(name), room(module))
        for name, path in NAMES.items()
        for module in imports(path)
        if module.split(".")[0] in PACKAGES and room(name) != room(module)
    }
)


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def body_lines(function: ast.FunctionDef) -> int:
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_vendors_stay_in_their_rooms(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    roots = {module.split(".")[0] for module in imports(path)}
    strangers = {vendor for vendor in roots & ROOMS.keys() if name not in ROOMS[vendor]}
    assert not strangers, f"{name} imports {strangers}"


def test_the_contracts_do_no_io() -> None:
    allowed = {*("pydantic", "schemas"), *sys.stdlib_module_names} - {
        "socket",
        "subprocess",
        "http",
    }
    for path in (p for p in MODULES if p.is_relative_to(ROOT / "schemas")):
        assert {module.split(".")[0] for module in imports(path)} <= allowed, path


def test_each_folder_is_a_package() -> None:
    assert all((path.parent / "__init__.py").exists() for path in MODULES)


def test_each_room_has_a_floor() -> None:
    for package, floors in FLOORS.items():
        rooms = {room(name).split(".")[1] for name in NAMES if name.startswith(f"{package}.")}
        assert rooms == set().union(*floors)


def goes_down(above: str, below: str) -> bool:
    (package, upper), (other, lower) = above.split("."), below.split(".")
    if package != other or package not in FLOORS:
        return other in ALLOWED[package] and above in UPPER.get(below, {above})
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    return floor[lower] < floor[upper] or floor[lower] == floor[upper] == 0


def test_arrows_between_folders_go_down() -> None:
    wrong = [f"{above} -> {below}" for above, below in ARROWS if not goes_down(above, below)]
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    below = {name: set(imports(path)) & NAMES.keys() - {name} for name, path in NAMES.items()}
    TopologicalSorter(below).prepare()  # raises CycleError, with the circle


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_a_folder_says_in_a_sentence_what_lives_there(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    assert isinstance(body[0], ast.Expr)
    assert len(body) == 1 or path.parent.name == "doivec", "nothing but the docstring"


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if ast.unparse(node) in {"os.environ", "os.getenv"}
        or (isinstance(node, ast.alias) and node.name in {"environ", "getenv"})
    }
    # A worker's process gets the environment of the command that starts it.
    assert readers <= {"worker/settings/environment.py", "worker/embedded/process.py"}


def test_functions_are_short() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": body_lines(function)
        for path in MODULES
        for function in functions(path)
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_LINES} == {}
    assert median(lengths.values()) <= MEDIAN_LINES


def test_public_names_have_docstrings_that_begin_with_a_sentence() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text())
        public = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        for node in [tree, *(n for n in tree.body if n in public and not n.name.startswith("_"))]:
            first = (ast.get_docstring(node) or "").split("\n")[0]
            where = f"{path.relative_to(ROOT)} {getattr(node, 'name', '')}"
            assert first.endswith((".", ":")), where
