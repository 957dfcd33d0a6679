"""Find and load the YAML definition of an lm-eval task.

A built-in name is looked up in the `task:` and `group:` lines of the definitions that ship with lm-eval; only the file
found is then parsed as YAML. This search takes less than a second. lm-eval's own index of about 14,000 files takes ten
seconds to build.
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

_NAME_LINE = re.compile(rb"""^["']?(task|group)["']?\s*:\s*["']?([\w.+/-]+)["']?\s*(?:\#.*)?\r?$""", re.MULTILINE)
_SHOWN = 80
"""The largest number of tasks of a group that a message lists."""


def find_task_file(name: str) -> Path:
    """The YAML file of a built-in task. Raises PluginError for a group, listing its tasks, and for an unknown name."""
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
    """The lm-eval `ConfigurableTask` that a YAML file defines, with its data.

    Raises PluginError, which begins with the task name `asked`, if the file or its data cannot be read.
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
        raise PluginError(f"{asked}: {file.name} must define one task; it defines a group or a Python class.")
    return found[0]


def _compile_once() -> None:
    """Cache compiled Jinja templates. lm-eval compiles them for every document, which takes most of its time."""
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(maxsize=1000)(env.from_string)


def _reason(error: Exception, file: Path) -> str:
    """The reason why a task file cannot be loaded, with instructions if its data cannot be downloaded."""
    import yaml

    if isinstance(error, yaml.YAMLError):
        return f"{file} is not valid YAML: {error}"
    message = f"{type(error).__name__}: {error}".strip()
    data = read_yaml(file).get("dataset_path")
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return (
            f"its data ({data or 'see its file'}) are in no Hugging Face cache and cannot be downloaded ({message})."
            " Connect to the network once, or point a copy of the task file at local files (dataset_path: json)."
        )
    return message


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The values of a task file. `!function` values are None; nothing is included or run. Raises OSError, YAMLError."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """Reads `!function` as None."""

    PlainLoader.add_constructor("!function", lambda *_: None)
    values = yaml.load(path.read_text(encoding="utf-8"), Loader=PlainLoader)  # noqa: S506 - a safe loader
    return values if isinstance(values, dict) else {}


@cache
def _index() -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of all built-in tasks, and of all groups, by name."""
    found: dict[bytes, dict[str, Path]] = {b"task": {}, b"group": {}}
    for file, content in _files():
        for kind, name in _NAME_LINE.findall(content):
            found[kind].setdefault(name.decode(), file)
    return found[b"task"], found[b"group"]


def _files() -> Iterator[tuple[Path, bytes]]:
    """All YAML files that ship with lm-eval, with their content. Raises PluginError if lm-eval is not installed."""
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise PluginError("lm-eval is not installed: pip install 'lm-eval[hf]'.")
    for file in sorted((Path(spec.origin).parent / "tasks").rglob("*.yaml")):
        yield file, file.read_bytes()


def _members(name: str) -> list[str]:
    """The tasks of a group or tag, including those of nested groups; empty for an unknown name."""
    tasks, groups = _index()
    if name not in groups:
        return sorted(_tagged(name))
    found: list[str] = []
    for child in _as_list(read_yaml(groups[name]).get("task")):
        entry = child.get("task", child.get("group")) if isinstance(child, Mapping) else child
        for inner in map(str, _as_list(entry)):
            known = [] if inner in tasks or inner == name else _members(inner)
            found += known or [inner]
    return list(dict.fromkeys(found))


def _tagged(name: str) -> Iterator[str]:
    """The tasks with this tag, which may be inherited from an included file."""
    word = re.compile(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w.-])")
    tagged = {f for f, content in _files() if b"tag" in content and word.search(content) and _has_tag(f, name)}
    inheriting = {f for f, content in _files() if _included(f, content) in tagged and not _own_tag(content)}
    for file in tagged | inheriting:
        task = read_yaml(file).get("task")
        if isinstance(task, str):
            yield task


def _has_tag(file: Path, name: str) -> bool:
    return name in _as_list(read_yaml(file).get("tag"))


def _own_tag(content: bytes) -> bool:
    return re.search(rb"""^["']?tag["']?\s*:""", content, re.MULTILINE) is not None


def _included(file: Path, content: bytes) -> Path | None:
    """The file that a task file includes; None if it includes none."""
    found = re.search(rb"""^["']?include["']?\s*:\s*["']?([\w./+-]+)""", content, re.MULTILINE)
    return file.parent / found.group(1).decode() if found else None


def _as_list(value: Any) -> list[Any]:
    """A list unchanged, another value as a list of one, None as an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
