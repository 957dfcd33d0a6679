"""Plugin files that are installed nowhere: `--include FILE_OR_FOLDER`.

A file is loaded by itself, and a folder with an `__init__.py` as one package. From any other folder every `*.py` file
directly in it is loaded, except `conftest.py` and names that begin with `_` or `test_` (helpers and tests). The files
of a folder import one another relatively (`from ._helpers import words`). Nothing else is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from mipo_bench.harness.errors import PluginError

_PACKAGE = "__init__.py"


@dataclass(frozen=True, slots=True)
class IncludedFile:
    """One included file: its path, its label in messages, and its name in `sys.modules`."""

    file: Path
    label: str
    module: str


def source_files(path: Path) -> list[Path]:
    """All source files of an included file or folder, sorted. Raises PluginError if there is none."""
    files = _files(path, nested=True)
    if not files:
        raise PluginError(f"{path} holds no .py file: give a Python file, or the folder that it is in.")
    return files


def content_digest(path: Path) -> str:
    """Digest of the names and texts of an included file or folder, the same on every machine.

    Raises PluginError if it is missing or cannot be read.
    """
    found = hashlib.sha256()
    try:
        for file in source_files(path):
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            for part in (name.encode(), file.read_bytes()):
                found.update(len(part).to_bytes(8, "big") + part)
    except OSError as error:
        raise PluginError(f"cannot read {path}: {error}") from error
    return found.hexdigest()


def included_files(path: Path) -> list[IncludedFile]:
    """The plugin files that `--include path` loads. Raises PluginError if there is none."""
    files = [path / _PACKAGE] if (path / _PACKAGE).is_file() else [f for f in _files(path) if _announces(f, path)]
    if not files:
        raise PluginError(
            f"{path} holds no plugin file: give a Python file, or a folder with one whose name begins with neither "
            "'_' nor 'test_'."
        )
    # the content is part of the name: a changed file is a new module, and the loaded one stays as it is
    name = re.sub(r"\W", "_", path.resolve().stem)
    base = f"mipo_bench_included_{name}_{content_digest(path)[:12]}_{_short(str(path.resolve()))}"
    if path.is_file() or files[0].name == _PACKAGE:
        return [IncludedFile(files[0], str(path), base)]
    return [IncludedFile(file, str(file), f"{base}.{file.stem.replace('.', '_')}") for file in files]


def load_module(source: IncludedFile) -> ModuleType:
    """The module; executed unless the same text is loaded already. Raises any error of its code."""
    if source.module in sys.modules:
        return sys.modules[source.module]
    parent = source.module.rpartition(".")[0]
    if parent and parent not in sys.modules:
        sys.modules[parent] = _folder_module(parent, source.file.parent)
    folder = [str(source.file.parent)] if source.file.name == _PACKAGE else None
    spec = importlib.util.spec_from_file_location(
        source.module,
        source.file.resolve(),
        loader=_FreshLoader(source.module, str(source.file.resolve())),
        submodule_search_locations=folder,
    )
    if spec is None or spec.loader is None:  # cannot happen: a loader is given
        raise ImportError(f"no loader for {source.file}")
    before = set(sys.modules)
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module  # before it runs: dataclasses look up their module
    try:
        with _without_byte_code():
            spec.loader.exec_module(module)
    except BaseException:
        _forget(source.module, set(sys.modules) - before)
        raise
    return module


@contextmanager
def _without_byte_code() -> Iterator[None]:
    """Write no byte code beside included files, nor beside the files that they import."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


class _FreshLoader(SourceFileLoader):
    """Compiles the file each time: cached byte code is compared by whole seconds, and edits can be faster."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        # decoded here: the compiler accepts undecodable comments, later readers of the source do not
        source = importlib.util.decode_source(self.get_data(path))
        # kept: after an edit, tracebacks and the scorer's hash refer to the text that runs (no time: never stale)
        linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
        return self.source_to_code(source, path)


def _folder_module(name: str, folder: Path) -> ModuleType:
    """A package without code, so that the files of the folder can import one another."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder.resolve())]
    return importlib.util.module_from_spec(spec)


def _forget(module: str, new: set[str]) -> None:
    for name in new:
        if name == module or name.startswith(f"{module}."):
            sys.modules.pop(name, None)


def _files(path: Path, *, nested: bool = False) -> list[Path]:
    """The Python files of a path. Raises PluginError if the path is neither a folder nor a Python file."""
    if path.is_dir():
        package = (path / _PACKAGE).is_file()
        return sorted(f for f in path.glob("**/*.py" if nested and package else "*.py") if f.is_file())
    if not path.exists():
        raise PluginError(f"no such file or folder: {path}")
    if path.suffix != ".py":
        raise PluginError(f"{path} is not a Python file: its name must end in .py.")
    if not path.is_file():
        raise PluginError(f"{path} is not a regular file.")
    return [path]


def _announces(file: Path, path: Path) -> bool:
    return file == path or not (file.name.startswith(("_", "test_")) or file.name == "conftest.py")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def announced(module: ModuleType, names: Mapping[str, type | tuple[type, ...]]) -> dict[str, object]:
    """The module-level names, such as TASKS, by which a file announces its plugins, with their values.

    `names` maps each name to its type. Raises PluginError that lists each name with a value of another type.
    """
    found = {name: vars(module)[name] for name in names if name in vars(module)}
    wrong = [
        f"{name} is a {type(value).__name__}" for name, value in found.items() if not isinstance(value, names[name])
    ]
    if wrong:
        raise PluginError(f"{'; '.join(wrong)}: write TASKS = [MyTask], a list of classes.")
    return found
