"""Writes the files of `mipo-bench new-task`: a complete small task, and its tests beside it.

A task of lm-eval is a folder, as lm-eval's own are: a definition in YAML, its functions, and its documents.
"""

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

TaskKind = Literal["personalized", "math", "choice", "judged", "lm-eval"]
_SKELETONS = Path(__file__).parent / "skeletons"


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The paths of the written files; `others` are those that the task reads."""

    task: Path
    test: Path
    others: tuple[Path, ...] = ()


def write_task(name: str, kind: TaskKind, folder: Path) -> WrittenFiles:
    """Write the task and its tests; a missing folder is created.

    Raises ConfigError if the name cannot be used or one of the files exists, and then writes nothing; StorageError if
    the files cannot be written.
    """
    _check_name(name)
    stem = re.sub(r"[^A-Za-z0-9]", "_", name)
    skeletons = {folder / file: skeleton for file, skeleton in _skeletons(stem, kind).items()}
    for path in skeletons:
        if path.exists():
            raise ConfigError(f"{path} exists and is not overwritten. Choose another name or --out FOLDER.")
    task, test, *others = skeletons
    if task.suffix == ".py" and (hidden := _hidden_module(stem)):
        raise ConfigError(f"{task.name} would hide the Python module {stem!r} ({hidden}). Choose another name.")
    values = {"name": name, "file": task.name, "folder": stem, "class_name": _class_name(name), "kind": kind}
    texts = {path: _render(skeleton, values | {"split": path.stem}) for path, skeleton in skeletons.items()}
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error}. Choose another with --out FOLDER.") from error
    return WrittenFiles(task, test, tuple(others))


def _skeletons(stem: str, kind: TaskKind) -> dict[str, str]:
    """File -> its skeleton: the task, its tests, and the files that the task reads."""
    if kind != "lm-eval":
        return {f"{stem}.py": f"{kind}.py.jinja", f"test_{stem}.py": "test_task.py.jinja"}
    return {
        f"{stem}/{stem}.yaml": "lm-eval.yaml.jinja",
        f"{stem}/test_{stem}.py": "test_lm-eval.py.jinja",
        f"{stem}/utils.py": "lm-eval-utils.py.jinja",
        **{f"{stem}/{split}.jsonl": "lm-eval-documents.jsonl.jinja" for split in ("train", "test")},
    }


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
