"""The source that a task's scores depend on: its module, and what that draws on in its own package."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

from mipo_bench.harness.types import Task


def scorer_sources(task: Task) -> list[str]:
    """The source of the task's module, then of the modules of its package that it imports, itself or through others.

    Nothing is imported for this. The harness is the same for all tasks and no part of a scorer.
    """
    own = type(task).__module__
    root = getattr(sys.modules[own], "__package__", None) or ""
    found, waiting = {own: _source(own)}, [own]
    while waiting and root not in ("", __package__):
        name = waiting.pop()
        for module in set(_imports(name, found[name], root)) - set(found):
            if file := _file(module, root):
                found[module] = file.read_text(encoding="utf-8")
                waiting.append(module)
    return [found[name] for name in (own, *sorted(set(found) - {own})) if found[name]]


def _source(module: str) -> str:
    """The source of a loaded module; empty where it has none (typed into a console)."""
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return ""


def _imports(module: str, source: str, root: str) -> Iterator[str]:
    """The names in `root` that a source imports, written in full; some are modules, others what is in them."""
    file = _file(module, root)
    is_package = module == root or (file is not None and file.name == "__init__.py")
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name == root or name.startswith(f"{root}."))


def _file(module: str, root: str) -> Path | None:
    """The source file of a module of the package `root`; None where there is none."""
    folder = next(iter(sys.modules[root].__path__), None)
    if folder is None:
        return None
    path = Path(folder).joinpath(*module.removeprefix(root).split("."))
    files = [path / "__init__.py"] + ([path.with_name(f"{path.name}.py")] if module != root else [])
    return next((file for file in files if file.is_file()), None)
