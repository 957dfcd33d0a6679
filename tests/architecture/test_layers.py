"""The layers: which package may import which, held on the source itself."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from paths import ROOT

PARTS = ("harness", "tasks", "baselines", "reports")
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "lm_eval", "huggingface_hub", "matplotlib"}
TORCH_AT_THE_TOP = ("harness.inference.layers", "harness.inference", "harness.training", "harness.training.distributed")
"""Rooms whose modules may import heavy packages at their top. Whoever imports such a module does it in a function."""
FLOORS = {
    "ground": (
        *(
            "harness.types",
            "harness.checks",
            "harness.protocols",
            "harness.errors",
            "harness.core",
            "reports.statistics",
        ),
        "reports.statistics.verdicts",
        "tasks.reading",
    ),
    "contracts": (
        *("reports.stats", "reports", "reports.records", "reports.analysis", "reports.pages", "reports.render"),
        *("reports.html", "reports.diff", "reports.logs", "reports.score_files"),
        *("harness.plugins", "harness.config"),
        *("tasks", "tasks.data", "tasks.embedded", "tasks.public", "tasks.public.lamp", "tasks.lm_eval"),
        *("tasks.preferences.checks", "tasks.preferences"),
        *("baselines.prompting", "baselines.decoding", "baselines.recipes"),
    ),
    "machines": (
        *("harness.store", "harness.store.upkeep"),
        "harness.gguf",
        *("harness.inference.layers", "harness.inference", "harness.servers", "harness.generators"),
        *("harness.training", "harness.training.distributed"),
    ),
    "measuring": (
        *("harness.planning", "harness.evaluation", "harness.exchange", "harness.backends", "harness.cluster"),
        *("harness.judging", "harness.history", "harness.diagnostics", "harness.startup", "harness.plugin_checks"),
    ),
    "doing": (
        *("harness.run.stages", "harness.run", "harness.check_task", "harness.testing", "harness.api"),
        *("harness.commands", "harness.commands.results", "harness.commands.reading", "harness.commands.plugins"),
        *("harness.cli", "harness.__main__", "harness.embedded"),
    ),
}
ORDER = [room for rooms in FLOORS.values() for room in rooms]
"""A module may import modules of its own room, and of the rooms before it in this list."""
SOURCES = sorted(f for part in PARTS for f in (ROOT / part).rglob("*.py"))
WITH_TESTS = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]
MODULES = {".".join(f.relative_to(ROOT).with_suffix("").parts): f for f in SOURCES if f.name != "__init__.py"}


def room(module: str) -> str:
    """The entry of ORDER that a module belongs to: itself, or its folder."""
    return module if module in ORDER else module.rpartition(".")[0]


@cache
def imports(module: str, *, top_level: bool = False) -> frozenset[str]:
    """Full names that a module imports; only those that run when it is imported, if `top_level`."""
    tree = ast.parse(MODULES[module].read_text())
    nodes = _outside_functions(tree) if top_level else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node):
            continue
        yield node
        yield from _outside_functions(node)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def ours(module: str, *, top_level: bool = False) -> set[str]:
    """The project's own modules that a module imports."""
    names = {name.removeprefix("mipo_bench.") for name in imports(module, top_level=top_level)}
    return {name for name in names if name in MODULES}


def may_import(importer: str, imported: str) -> bool:
    """The rule in one line, and two more: parts do not reach across, and only plugins know tasks and baselines."""
    there, here = room(imported), room(importer)
    part, other = importer.split(".", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    ground = imported in ("harness.types", "harness.checks", "harness.errors") or there in (
        "harness.core",
        "tasks.reading",
    )
    across = part == other or ground or (part, other) == ("harness", "reports")
    return (across or here == "harness.embedded") and (here == there or ORDER.index(there) < ORDER.index(here))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    assert [name for name in sorted(ours(module)) if not may_import(module, name)] == []


def test_no_module_imports_itself_through_others() -> None:
    graph = {module: ours(module) for module in MODULES}
    while free := {module for module in graph if not graph[module] & set(graph)}:
        for module in free:
            del graph[module]
    assert not graph


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_inside_functions(module: str) -> None:
    if room(module) not in (*TORCH_AT_THE_TOP, "harness.embedded"):
        names = imports(module, top_level=True)
        assert not {name.split(".")[0] for name in names} & HEAVY
        assert not [name for name in ours(module, top_level=True) if _is_heavy(name)]


@cache
def _is_heavy(module: str) -> bool:
    """Whether importing the module imports a heavy package."""
    names = {name.split(".")[0] for name in imports(module, top_level=True)}
    return bool(names & HEAVY) or any(_is_heavy(name) for name in ours(module, top_level=True))


def test_only_training_imports_trl_and_peft() -> None:
    users = {m for m in MODULES for name in imports(m) if name.split(".")[0] in ("trl", "peft")}
    assert {room(user) for user in users} == {"harness.training"}


def test_tasks_baselines_and_reports_never_import_torch() -> None:
    for module in MODULES:
        if module.split(".")[0] != "harness":
            assert "torch" not in {name.split(".")[0] for name in imports(module)}


def test_nothing_imports_the_script_that_makes_the_embedded_model() -> None:
    assert not [m for m in MODULES for name in ours(m) if room(name) == "harness.embedded" != room(m)]


def test_no_folder_has_more_than_twelve_modules() -> None:
    folders = Counter(f.parent.relative_to(ROOT).as_posix() for f in WITH_TESTS if f.name != "__init__.py")
    assert {folder: count for folder, count in folders.items() if count > 12} == {}


def test_no_file_is_over_300_lines_and_no_function_over_60() -> None:
    sources = {f.relative_to(ROOT).as_posix(): f.read_text() for f in WITH_TESTS}
    assert {name: text.count("\n") for name, text in sources.items() if text.count("\n") > 300} == {}
    assert [found for name, text in sources.items() for found in long_functions(name, text)] == []


def long_functions(name: str, text: str) -> list[str]:
    """The functions of more than 60 lines, nested ones included, as `file: function`. Decorators are not counted."""
    functions = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [f"{name}: {f.name}" for f in functions if f.end_lineno and f.end_lineno - f.lineno >= 60]


def test_every_init_is_empty() -> None:
    assert all(not f.read_text() for f in SOURCES if f.name == "__init__.py")


def test_every_folder_with_code_or_data_is_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    on_disk = {
        ".".join(("mipo_bench", *f.parent.relative_to(ROOT).parts))
        for part in PARTS
        for f in (ROOT / part).rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }
    assert on_disk == set(project["tool"]["setuptools"]["packages"])


def test_the_rules_can_fail(tmp_path: Path) -> None:
    source = "import torch\nfrom mipo_bench.tasks.embedded import facts\ndef f():\n    import trl\n"
    MODULES["harness.run.bad"] = tmp_path / "bad.py"
    MODULES["harness.run.bad"].write_text(source)
    try:
        assert "torch" in imports("harness.run.bad", top_level=True)
        assert "trl" not in imports("harness.run.bad", top_level=True)
        assert ours("harness.run.bad") == {"tasks.embedded.facts"}
    finally:
        del MODULES["harness.run.bad"]
    assert not may_import("harness.run.bad", "tasks.embedded.facts")
    assert not may_import("harness.store.claims", "harness.run.run")
    assert not may_import("tasks.answers", "harness.store.claims")
    assert may_import("harness.run.run", "harness.store.claims")
    allowed, long = ("def f():\n" + "    x = 1\n" * lines for lines in (59, 60))
    assert (long_functions("a.py", allowed), long_functions("a.py", long)) == ([], ["a.py: f"])
