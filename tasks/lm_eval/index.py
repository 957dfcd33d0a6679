"""Where lm-eval keeps a task: its own index of some 14,000 files takes ten seconds to build, this search under one.

A built-in name is looked up by the `task:` and `group:` lines of the definitions that ship with lm-eval; only the file
that was found is then read as YAML.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import PluginError

_NAMED = re.compile(rb"""^["']?(task|group)["']?\s*:\s*["']?([\w.+/-]+)["']?\s*(?:\#.*)?\r?$""", re.MULTILINE)
_SHOWN = 80
"""Tasks of a group that a message lists."""


def find_task_file(name: str) -> Path:
    """The YAML file of a built-in task. Raises PluginError for a group (with its tasks) and for an unknown name."""
    tasks, groups = _index()
    if name in tasks:
        return tasks[name]
    members = _members(name)
    if members:
        some = ", ".join(f"lm-eval:{m}" for m in members[:_SHOWN])
        more = f" and {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
        raise PluginError(f"lm-eval:{name} is a group of {len(members)} tasks; give them one by one: {some}{more}.")
    names = [*tasks, *groups]
    near = sorted(n for n in names if n.startswith(name))[:5] or difflib.get_close_matches(name, names, n=5)
    hint = f" Did you mean {' or '.join(f'lm-eval:{n}' for n in near)}?" if near else ""
    raise PluginError(
        f"lm-eval has no task {name!r}.{hint} Give the name of one of its {len(tasks)} tasks, or the path of a"
        " task file that ends in .yaml."
    )


def load_task(file: Path, asked: str) -> Any:
    """The task of a YAML file with its data, an lm-eval `ConfigurableTask`.

    Raises PluginError, saying what was `asked` for, where the file or its data cannot be read.
    """
    if not file.is_file():
        raise PluginError(f"{asked}: there is no file {file}.")
    from datasets import disable_progress_bars
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    disable_progress_bars()
    _compile_once()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        found = list(TaskManager(include_defaults=False).load(str(file))["tasks"].values())
    except Exception as error:
        raise PluginError(f"{asked} cannot be loaded: {_reason(error, file)}") from error
    if len(found) != 1 or not isinstance(found[0], ConfigurableTask):
        raise PluginError(f"{asked}: {file.name} defines no single task but a group or a class of its own.")
    return found[0]


def _compile_once() -> None:
    """Keep compiled templates: lm-eval compiles them anew for every document, which is most of the time it takes."""
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(maxsize=1000)(env.from_string)


def _reason(error: Exception, file: Path) -> str:
    """Why a task file cannot be loaded, and what to do where its data are out of reach."""
    import yaml

    if isinstance(error, yaml.YAMLError):
        return f"{file} is not valid YAML: {error}"
    said = f"{type(error).__name__}: {error}".strip()
    data = read_yaml(file).get("dataset_path")
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return (
            f"its data ({data or 'see its file'}) are neither in the Hugging Face cache nor within reach ({said})."
            " Connect to the network once, or point a copy of the task file at local files (dataset_path: json)."
        )
    return said


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A task file as plain values: functions are left out, nothing is included or run. Raises OSError, YAMLError."""
    import yaml

    class Plain(yaml.SafeLoader):
        """Reads `!function` as nothing."""

    Plain.add_constructor("!function", lambda *_: None)
    values = yaml.load(path.read_text(encoding="utf-8"), Loader=Plain)  # noqa: S506 - a safe loader
    return values if isinstance(values, dict) else {}


@cache
def _index() -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of all built-in tasks and groups by name."""
    found: dict[bytes, dict[str, Path]] = {b"task": {}, b"group": {}}
    for file, content in _files():
        for kind, name in _NAMED.findall(content):
            found[kind].setdefault(name.decode(), file)
    return found[b"task"], found[b"group"]


def _files() -> Iterator[tuple[Path, bytes]]:
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise PluginError("lm-eval is not installed: pip install 'lm-eval[hf]'.")
    for file in sorted((Path(spec.origin).parent / "tasks").rglob("*.yaml")):
        yield file, file.read_bytes()


def _members(name: str) -> list[str]:
    """The tasks of a group or tag, groups inside of it opened up; empty where there is none of that name."""
    tasks, groups = _index()
    if name not in groups:
        return sorted(_tagged(name))
    found: list[str] = []
    for child in _listed(read_yaml(groups[name]).get("task")):
        entry = child.get("task", child.get("group")) if isinstance(child, Mapping) else child
        for inner in map(str, _listed(entry)):
            known = [] if inner in tasks or inner == name else _members(inner)
            found += known or [inner]
    return list(dict.fromkeys(found))


def _tagged(name: str) -> Iterator[str]:
    """Tasks with this tag, their own or that of the file that they include."""
    word = re.compile(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w.-])")
    tagged = {f for f, content in _files() if b"tag" in content and word.search(content) and _has_tag(f, name)}
    heirs = {f for f, content in _files() if _included(f, content) in tagged and not _own_tag(content)}
    for file in tagged | heirs:
        task = read_yaml(file).get("task")
        if isinstance(task, str):
            yield task


def _has_tag(file: Path, name: str) -> bool:
    return name in _listed(read_yaml(file).get("tag"))


def _own_tag(content: bytes) -> bool:
    return re.search(rb"""^["']?tag["']?\s*:""", content, re.MULTILINE) is not None


def _included(file: Path, content: bytes) -> Path | None:
    found = re.search(rb"""^["']?include["']?\s*:\s*["']?([\w./+-]+)""", content, re.MULTILINE)
    return file.parent / found.group(1).decode() if found else None


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
