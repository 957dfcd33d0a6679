"""The layer rules, held on the source itself."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("harness", "tasks", "baselines", "reports")
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "lm_eval", "huggingface_hub", "matplotlib"}
SOURCES = sorted(f for part in PARTS for f in (ROOT / part).rglob("*.py"))
MODULES = {
    ".".join(("mipo_bench", *f.relative_to(ROOT).with_suffix("").parts)): f for f in SOURCES if f.name != "__init__.py"
}
LAYER_0 = {"mipo_bench.harness.types", "mipo_bench.harness.errors"}
LAYER_1 = {
    f"mipo_bench.harness.{n}"
    for n in (
        *("store.claims", "config.schema", "plugins.task_data", "store.database", "plugins.included_files"),
        *("core.file_locks", "plugins.protocol_checks", "plugins.registry", "config.presets", "core.provenance"),
        *("core.redaction", "store.run_store"),
    )
}
BUILD = "mipo_bench.harness.embedded."
"""The script that makes the embedded model reads tasks and baselines, and is imported by nothing."""


def imports(module: str, *, top_level: bool = False) -> set[str]:
    """Modules that a module imports; only those that run when it is imported, if `top_level`."""
    tree = ast.parse(MODULES[module].read_text())
    nodes = _outside_functions(tree) if top_level else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node):
            continue
        yield node
        yield from _outside_functions(node)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_inside_functions(module: str) -> None:
    if not module.startswith(BUILD):
        roots = {name.split(".")[0] for name in imports(module, top_level=True)}
        assert not roots & HEAVY


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    part = module.split(".")[1]
    used = ours(module)
    if module in LAYER_0:
        assert not used
    elif module.startswith(("mipo_bench.reports.stats", "mipo_bench.reports.statistics.")):
        assert all(name.startswith("mipo_bench.reports.statistics.") for name in used)
    elif module in LAYER_1:
        assert used <= LAYER_0 | LAYER_1
    elif part in ("tasks", "baselines"):
        assert all(name in LAYER_0 or name.startswith(f"mipo_bench.{part}.") for name in used)
    elif part == "reports":
        assert all(name in LAYER_0 or name.startswith("mipo_bench.reports.") for name in used)
    elif not module.startswith(BUILD):
        assert not any(name.startswith(("mipo_bench.tasks.", "mipo_bench.baselines.", BUILD)) for name in used)


def test_only_training_imports_trl_and_peft() -> None:
    users = {m for m in MODULES for name in imports(m) if name.split(".")[0] in ("trl", "peft")}
    assert users
    assert all(m.startswith("mipo_bench.harness.training.") for m in users)


def test_tasks_baselines_and_reports_never_import_torch() -> None:
    for module in MODULES:
        if module.split(".")[1] != "harness":
            assert "torch" not in {name.split(".")[0] for name in imports(module)}


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
    source = "import torch\nfrom mipo_bench.tasks import facts\ndef f():\n    import trl\n"
    MODULES["mipo_bench.harness.bad"] = tmp_path / "bad.py"
    MODULES["mipo_bench.harness.bad"].write_text(source)
    try:
        assert "torch" in imports("mipo_bench.harness.bad", top_level=True)
        assert "trl" not in imports("mipo_bench.harness.bad", top_level=True)
        assert ours("mipo_bench.harness.bad") == {"mipo_bench.tasks.embedded.facts"}
    finally:
        del MODULES["mipo_bench.harness.bad"]
