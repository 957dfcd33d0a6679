"""Writes the files of `mipo-bench new-task`: a complete small task, and its tests beside it."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mipo_bench.harness.errors import ConfigError, StorageError
from mipo_bench.harness.plugins.protocol_checks import name_problem
from mipo_bench.harness.plugins.registry import load_plugins

TaskKind = Literal["personalized", "math", "choice", "judged"]
_SKELETONS = Path(__file__).parent / "skeletons"


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The paths of the written files."""

    task: Path
    test: Path


def write_task(name: str, kind: TaskKind, folder: Path) -> WrittenFiles:
    """Write the task and its tests; a missing folder is created.

    Raises ConfigError if the name cannot be used or one of the files exists, and then writes nothing; StorageError if
    the files cannot be written.
    """
    _check_name(name)
    file = f"{re.sub(r'[^A-Za-z0-9]', '_', name)}.py"
    written = WrittenFiles(folder / file, folder / f"test_{file}")
    for path in (written.task, written.test):
        if path.exists():
            raise ConfigError(f"{path} exists and is not overwritten. Choose another name or --out FOLDER.")
    if hidden := _hidden_module(written.task.stem):
        raise ConfigError(f"{file} would hide the Python module {written.task.stem!r} ({hidden}). Choose another name.")
    values = {"name": name, "file": file, "class_name": _class_name(name), "kind": kind}
    texts = {written.task: _render(f"{kind}.py.jinja", values), written.test: _render("test_task.py.jinja", values)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error}. Choose another with --out FOLDER.") from error
    return written


def _check_name(name: str) -> None:
    if problem := name_problem(name):
        raise ConfigError(f"the {problem}.")
    if re.match(r"(test|conftest)\b|test_", name):
        raise ConfigError(f"the name {name!r} looks like a test file, which is never loaded. Choose another.")
    if name in load_plugins().tasks:
        raise ConfigError(f"a task {name!r} is installed already. Choose another name.")


def _hidden_module(stem: str) -> str:
    """The place of an installed module of this name, which Python would no longer find; empty if there is none.

    Modules of the working directory do not count: they are the user's own.
    """
    if stem in sys.stdlib_module_names:
        return "of Python itself"
    try:
        spec = importlib.util.find_spec(stem)
    except ValueError:  # a module that was made without a spec, such as __main__
        return "already imported"
    if spec is None:
        return ""
    places = [Path(place) for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    own = any(place.is_absolute() and place.resolve().parent == Path.cwd().resolve() for place in places)
    return "" if own else str(places[0]) if places else "installed"


def _class_name(name: str) -> str:
    """`word-sums` -> WordSumsTask. The suffix avoids a clash with Item, Score and other imports."""
    words = "".join(word[0].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name) if word)
    return f"{'Task' if words[0].isdigit() else ''}{words}Task"


def _render(skeleton: str, values: dict[str, str]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # noqa: S701 - Python source, not HTML; the values are checked names
        keep_trailing_newline=True, trim_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string((_SKELETONS / skeleton).read_text(encoding="utf-8")).render(values)
