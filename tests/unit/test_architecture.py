"""The structure that the design promises, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "worker", "trainer")
MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
ALLOWED = {"schemas": {"schemas"}, "worker": {"schemas", "worker"}, "trainer": set(PACKAGES)}
ROOMS = {
    "torch": {
        *("worker/model/embedder.py", "worker/model/forward.py"),
        *("trainer/training/train.py", "trainer/training/packed.py"),
    },
    "transformers": {
        *("worker/model/embedder.py", "worker/model/forward.py"),
        "trainer/training/train.py",
    },
    "sentence_transformers": {
        "worker/model/embedder.py",
        *("trainer/training/train.py", "trainer/training/tables.py"),
    },
    "datasets": {"trainer/training/train.py", "trainer/training/tables.py"},
    "matplotlib": {"trainer/card/plots.py"},
    "pyarrow": {
        f"trainer/data/{name}.py"
        for name in ("shards", "pairs", "pair_files", "metadata", "held_out")
    },
    "redis": {"worker/ledger/ledger.py", "worker/ledger/state.py"},
    "qdrant_client": {
        f"worker/store/{name}.py"
        for name in ("server", "connection", "aliases", "messages", "failures")
    },
    "qdrant_edge": {"worker/store/edge.py", "worker/store/shard.py"},
    "celery": {
        *("worker/app.py", "worker/tasks.py", "worker/bootstrap.py"),
        *("trainer/tasks.py", "trainer/refinement/slots.py"),
    },
}
LONGEST_LINES = 40
MEDIAN_LINES = 8


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


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
def test_imports_go_one_way_and_vendors_stay_in_their_rooms(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    roots = {module.split(".")[0] for module in imports(path)}
    assert roots & set(PACKAGES) <= ALLOWED[name.split("/")[0]]
    strangers = {vendor for vendor in roots & ROOMS.keys() if name not in ROOMS[vendor]}
    assert not strangers, f"{name} imports {strangers}"


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }
    assert readers <= {"worker/settings.py", "worker/embedded.py"}, "embedded passes it to children"


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
