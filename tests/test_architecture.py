"""The house rules that no linter knows: floors, heavy imports, docstrings, lengths.

Imports are read from the syntax trees, those inside functions and under
TYPE_CHECKING too, so that nothing has to be imported, and no lazy import hides.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = ("idp_tf", "serving", "pipelines", "benchmarks")
MAX_LINES: Final = 400

# Longest prefix wins. Rooms of one floor do not import each other.
ROOMS: Final = {
    "idp_tf": ("foundation", 0),
    "idp_tf._version": ("foundation", 0),
    "idp_tf.errors": ("foundation", 0),
    "idp_tf.config": ("foundation", 0),
    "idp_tf.presets": ("foundation", 0),
    "idp_tf.setting_problems": ("foundation", 0),
    "idp_tf.metrics": ("foundation", 0),
    "idp_tf.machine": ("foundation", 0),
    "idp_tf.systems": ("foundation", 0),
    "idp_tf.system_table": ("foundation", 0),
    "idp_tf.cluster": ("strategy", 1),
    "idp_tf.strategy": ("strategy", 1),
    "idp_tf.data.schema": ("foundation", 0),
    "idp_tf.data": ("data", 1),
    "idp_tf.retrieval": ("retrieval", 1),
    "idp_tf.layers": ("layers", 2),
    "idp_tf.losses": ("layers", 2),
    "idp_tf.representation_losses": ("layers", 2),
    "idp_tf.optimizers": ("layers", 2),
    "idp_tf.text": ("text", 2),
    "idp_tf.models": ("models", 3),
    "idp_tf.transfer": ("transfer", 4),
    "idp_tf.evaluation": ("evaluation", 4),
    "serving": ("serving", 5),
    "idp_tf.workflow": ("workflow", 6),
    "idp_tf.experiments": ("experiments", 7),
    "pipelines": ("pipelines", 7),
    "benchmarks": ("benchmarks", 7),
    "idp_tf.cli": ("cli", 8),
    "idp_tf.cli_options": ("cli", 8),
    "idp_tf.cli_pipeline": ("cli", 8),
    "idp_tf.cli_query": ("cli", 8),
}
KERAS_3: Final = frozenset({"keras", "keras_hub", "keras_nlp"})
KERAS_2: Final = frozenset({"tf_keras", "tensorflow_recommenders"})
KERAS_2_ROOMS: Final = frozenset({"retrieval", "layers", "models"})
LIGHT: Final = frozenset({"numpy", "pydantic", "pydantic_core", "yaml", "typer", "rich", "click"})
"""What floor 0 and the command may import at the top of a module."""

CLIENT_NEEDS: Final = frozenset({"grpc", "google", "numpy"})
"""All that a machine needs that only asks; ``google`` is protobuf."""


class Import(NamedTuple):
    """One import statement: who, what, where, and whether it runs with the module."""

    importer: str
    imported: str
    place: str
    at_top: bool


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def modules() -> frozenset[str]:
    return frozenset(module_name(path) for path in files())


def imports_of(path: Path) -> list[Import]:
    """Every import; ``from package import name`` is the module ``package.name`` if there is one."""
    importer, found = module_name(path), []
    inside = {
        id(node)
        for outer in ast.walk(tree(path))
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(outer)
        for node in ast.walk(outer)
    }
    for node in ast.walk(tree(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            names = [
                inner if (inner := f"{base}.{alias.name}") in modules() else base
                for alias in node.names
            ]
        if names and isinstance(node, ast.stmt):
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            found += [Import(importer, name, place, id(node) not in inside) for name in names]
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parent.parts
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def room_of(module: str) -> tuple[str, int] | None:
    """The room and the floor; None for a package of others."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        return None
    if len(parts) > 1 and parts[0] == "idp_tf" and ".".join(parts[:2]) not in ROOMS:
        raise AssertionError(f"{module} has no floor: add its room to ROOMS")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(ROOMS[prefix] for prefix in prefixes if prefix in ROOMS)


def all_imports() -> list[Import]:
    return [found for path in files() for found in imports_of(path)]


def wrong_way(found: Import) -> bool:
    here, there = room_of(found.importer), room_of(found.imported)
    return here is not None and there is not None and here[0] != there[0] and there[1] >= here[1]


def test_imports_point_down() -> None:
    wrong = [f"{i.place}: {i.importer} imports {i.imported}" for i in all_imports() if wrong_way(i)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("importer", "imported", "wrong"),
    [
        ("idp_tf.data.prepare", "idp_tf.models", True),
        ("idp_tf.text.encoder", "idp_tf.layers", True),
        ("idp_tf.losses", "idp_tf.text", True),
        ("idp_tf.transfer.generate", "idp_tf.evaluation", True),
        ("idp_tf.errors", "idp_tf.data.schema", False),
        ("idp_tf.errors", "idp_tf.data.domain", True),
        ("idp_tf.workflow.report", "serving.export", False),
        ("serving.export", "idp_tf.workflow.run", True),
        ("idp_tf.text.encoder", "idp_tf.retrieval", False),
        ("idp_tf.metrics", "tensorflow", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, wrong: bool) -> None:
    assert wrong_way(Import(importer, imported, "", True)) is wrong


def test_the_two_keras_stay_apart() -> None:
    wrong = []
    for found in all_imports():
        here, package = room_of(found.importer), found.imported.partition(".")[0]
        room = here[0] if here else ""
        if room == "text" and (package in KERAS_2 or found.imported.startswith("tensorflow.keras")):
            wrong.append(f"{found.place}: the Keras 3 room imports {found.imported}")
        if room in KERAS_2_ROOMS and (
            package in KERAS_3 or found.imported.startswith("idp_tf.text")
        ):
            wrong.append(f"{found.place}: a Keras 2 room imports {found.imported}")
    for path in sorted((ROOT / "idp_tf" / "text").rglob("*.py")):
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno}: the Keras 3 room touches tf.keras"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "tf.keras"
        ]
    assert not wrong, "\n".join(wrong)


def test_the_client_needs_nothing_of_the_library_nor_tensorflow() -> None:
    """Followed through everything that the client imports within serving."""
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        graph.setdefault(found.importer, set()).add(found.imported)
    waiting, seen = ["serving.client", "serving"], set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        waiting += [name for name in graph.get(module, ()) if name.startswith("serving")]
        packages = {name.partition(".")[0] for name in graph.get(module, ())}
        others = packages - sys.stdlib_module_names - {"serving", *CLIENT_NEEDS}
        assert not others, f"{module} imports {sorted(others)}"
    assert {"serving.client.calls", "serving.wire", "serving.tensors"} <= seen


def test_what_must_be_light_imports_nothing_heavy_at_the_top() -> None:
    wrong = []
    for found in all_imports():
        here = room_of(found.importer)
        if here is None or here[0] not in ("foundation", "cli") or not found.at_top:
            continue
        package = found.imported.partition(".")[0]
        if package not in LIGHT | sys.stdlib_module_names | set(PACKAGES):
            wrong.append(f"{found.place}: {found.importer} imports {found.imported}")
    assert not wrong, "\n".join(wrong)


def undocumented(path: Path) -> Iterator[str]:
    """Public modules, classes, functions and methods without a docstring."""
    name = module_name(path)
    if any(part.startswith("_") for part in name.split(".")):
        return
    if ast.get_docstring(tree(path)) is None:
        yield f"{path.relative_to(ROOT)}: the module"
    yield from undocumented_in(tree(path).body, name, path)


def undocumented_in(body: list[ast.stmt], owner: str, path: Path) -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        given_elsewhere = any(m.endswith((".setter", "overload", "override")) for m in marks)
        if node.name.startswith("_") or given_elsewhere:
            continue
        if ast.get_docstring(node) is None:
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {owner}.{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented_in(node.body, f"{owner}.{node.name}", path)


def test_every_public_name_has_a_docstring() -> None:
    missing = [name for path in files() for name in undocumented(path)]
    assert not missing, "\n".join(missing)


def test_no_file_is_long() -> None:
    paths = [*files(), *(ROOT / "tests").rglob("*.py")]
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in paths}
    long = [f"{p.relative_to(ROOT)}: {n}" for p, n in lengths.items() if n > MAX_LINES]
    assert not long, "\n".join(long)


HELP: Final = "import sys; sys.argv = ['idp-tf', '--help']; from idp_tf.cli import main; main()"


def run_help(*options: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The CPU seconds that the command took, and how it ended."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, *options, "-c", HELP],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        timeout=60,
        check=False,
    )
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system, done


def test_help_imports_nothing_heavy() -> None:
    _, done = run_help("-X", "importtime")
    assert done.returncode == 0 and "Usage" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "idp_tf" in imported and "typer" in imported
    heavy = {"tensorflow", "tf_keras", "keras", "keras_hub", "scann", "grpc", "polars"}
    assert not imported & (heavy | {"matplotlib", "scipy", "tensorflow_recommenders"})


def test_help_answers_in_under_a_second() -> None:
    """It waits for nothing, so CPU time is what it takes on a machine that is not busy."""
    assert min(run_help()[0] for _ in range(3)) < 1.0
