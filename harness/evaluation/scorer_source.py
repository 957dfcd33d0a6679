"""The code that a task's scores depend on: its module, and the modules of the same distribution that it imports."""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

from mipo_bench.harness.types import Task

_HARNESS = "mipo_bench.harness"
_UNSEEN = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
"""Fields of syntax nodes that do not change behaviour, or that only some Python versions have."""


def scorer_code(task: Task) -> list[str]:
    """The code of the task's module, then of every module of the same distribution that it imports, directly or not.

    Code is the syntax tree without comments, docstrings and import lines, so that rewording or moving a module changes
    nothing. An import that renames a name is part of the code. Modules are read, not imported. Modules of the harness
    are left out: they are the same for all tasks.
    """
    own = type(task).__module__
    root = _root(own)
    sources, waiting = {own: _source(own)}, [own]
    while waiting:
        name = waiting.pop()
        for module in set(_imports(name, sources[name], root)) - set(sources):
            if file := _file(module, root):
                sources[module] = file.read_text(encoding="utf-8")
                waiting.append(module)
    others = (code_of(sources[name]) for name in set(sources) - {own})
    return [code for code in (code_of(sources[own]), *sorted(others)) if code]


def _root(module: str) -> str:
    """The top package of a module's distribution. The packages of this project share the name `mipo_bench`."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] == "mipo_bench" else 1])


def _source(module: str) -> str:
    """The source of a loaded module; empty for a module without a file (defined in a console)."""
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return ""


def _imports(module: str, source: str, root: str) -> Iterator[str]:
    """The full names below `root` that a source imports: modules, and names in modules."""
    file = _file(module, root)
    is_package = file is not None and file.name == "__init__.py"
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(_parsed(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name == root or name.startswith(f"{root}."))


def _file(module: str, root: str) -> Path | None:
    """The source file of a module in the package `root`; None where the package has no such file."""
    if root == _HARNESS:
        return None
    for folder in getattr(sys.modules.get(root), "__path__", ()):
        path = Path(folder).joinpath(*module.removeprefix(root).split("."))
        files = [path / "__init__.py"] + ([path.with_name(f"{path.name}.py")] if module != root else [])
        if file := next((file for file in files if file.is_file()), None):
            return file
    return None


_PARSING = threading.Lock()
"""Python 3.11 refuses to parse in two threads at once, now and then (SystemError: recursion depth mismatch)."""


def _parsed(source: str) -> ast.Module:
    with _PARSING:
        return ast.parse(source)


def code_of(source: str) -> str:
    """The syntax tree of a source as one text, equal on every Python version; empty for a source without code.

    The output of `ast.dump` differs between versions, so it is not used.
    """
    tree = _parsed(source)
    words: list[str] = []
    waiting: list[object] = [tree]
    while waiting:  # not recursive: a long chain of operators is a deep tree
        node = waiting.pop()
        if isinstance(node, _Word):
            words.append(node)
        elif isinstance(node, list):
            waiting += [_Word("]"), *reversed(node), _Word("[")]
        elif isinstance(node, ast.AST):
            waiting.append(_Word(")"))
            for name, value in reversed(list(_fields(node))):
                waiting += [value, _Word(f"{name}=")]
            waiting.append(_Word(f"{type(node).__name__}("))
        else:
            words.append(f"{node!r},")
    renamed = sorted(f"{alias.name} as {alias.asname}" for alias in _renaming(tree))
    return "".join([*words, *renamed]).removeprefix(_NOTHING)


class _Word(str):
    """A piece of the output, in contrast to a string constant of the source."""

    __slots__ = ()


_NOTHING = "Module()"


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields that are not empty, without import statements and docstrings."""
    for name, value in ast.iter_fields(node):
        kept = [part for part in value if not _is_silent(part)] if isinstance(value, list) else value
        if name not in _UNSEEN and kept is not None and kept != []:
            yield name, kept


def _is_silent(node: object) -> bool:
    """Whether a statement is an import or a bare string (a docstring)."""
    alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return alone or isinstance(node, ast.Import | ast.ImportFrom)


def _renaming(tree: ast.AST) -> Iterator[ast.alias]:
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.asname not in (None, node.name):
            yield node
