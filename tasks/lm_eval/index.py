"""Find and load the YAML definition of an lm-eval task.

A built-in name is looked up in the `task:` and `group:` lines of the definitions that ship with lm-eval; only the file
found is then parsed as YAML. This search takes less than a second. lm-eval's own index of about 14,000 files takes ten
seconds to build.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import PluginError, unknown

_NAME_LINE = re.compile(rb"""^["']?(task|group)["']?\s*:\s*["']?([\w.+/-]+)["']?\s*(?:\#.*)?\r?$""", re.MULTILINE)
_UNKNOWN_SETTING = re.compile(r"TaskConfig.* unexpected keyword argument '(\w+)'")
_SHOWN = 80
"""The largest number of tasks of a group that a message lists."""


def find_file(name: str) -> Path:
    """The YAML file of a built-in task or group. Raises PluginError for a tag, with its tasks, and an unknown name."""
    tasks, groups = _index()
    if name in tasks or name in groups:
        return tasks.get(name) or groups[name]
    if members := sorted(tagged(name)):
        raise PluginError(f"lm-eval:{name} is a tag, which has no figure of its own, of {one_by_one(members)}.")
    names = [*tasks, *groups]
    near = sorted(n for n in names if n.startswith(name))[:5] or difflib.get_close_matches(name, names, n=5)
    hint = f" Did you mean {' or '.join(f'lm-eval:{n}' for n in near)}?" if near else ""
    raise PluginError(
        f"lm-eval has no task {name!r}.{hint} Give the name of one of its {len(tasks)} tasks or {len(groups)} groups,"
        " or the path of a task file that ends in .yaml."
    )


def load_task(file: Path, asked: str) -> Any:
    """The lm-eval task that a YAML file defines, with its data: a `ConfigurableTask`, or a class of its own.

    Raises PluginError, which begins with the task name `asked`, if the file or its data cannot be read.
    """
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

    prepare()
    try:
        found = list(TaskManager(include_defaults=False).load(str(file))["tasks"].values())
    except Exception as error:
        raise PluginError(f"{asked} cannot be loaded: {reason(error, file)}") from error
    if len(found) != 1 or not isinstance(found[0], Task):
        raise PluginError(f"{asked}: {file.name} must define one task.")
    return found[0]


def prepare() -> None:
    """Keep lm-eval and `datasets` quiet, and compile each template once."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    _compile_once()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def is_task_file(name: str) -> bool:
    """Whether a name is written as the path of a task file."""
    return name.lower().endswith((".yaml", ".yml"))


def definition(file: Path, asked: str) -> Mapping[str, Any]:
    """The values of a task file. Raises PluginError, which begins with `asked`, for one without a task or group."""
    import yaml

    if not file.is_file():
        raise PluginError(f"{asked}: there is no file {file}.")
    try:
        values = read_yaml(file)
    except (OSError, yaml.YAMLError) as error:
        raise PluginError(f"{asked} cannot be loaded: {file} is not valid YAML: {error}") from error
    if "include" not in values and not is_group(values) and not isinstance(values.get("task"), str):
        raise PluginError(f"{asked} cannot be loaded: {file.name} does not name its task. Add a line `task: NAME`.")
    return values


def is_group(values: Mapping[str, Any]) -> bool:
    """Whether the values of a file are those of a group: it has no class, and a name or several tasks."""
    return "class" not in values and ("group" in values or isinstance(values.get("task"), list))


def one_by_one(members: Sequence[str]) -> str:
    """The number of tasks, and how to ask for each."""
    some = ", ".join(f"lm-eval:{m}" for m in members[:_SHOWN])
    more = f" and {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
    return f"{len(members)} tasks; give them one by one: {some}{more}"


def _compile_once() -> None:
    """Cache compiled Jinja templates. lm-eval compiles them for every document, which takes most of its time."""
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(maxsize=1000)(env.from_string)


def reason(error: Exception, file: Path) -> str:
    """The reason why a task file cannot be loaded, with instructions."""
    from datasets.exceptions import DatasetGenerationError

    if isinstance(error, DatasetGenerationError):
        return f"its data cannot be read: {error.__cause__ or error}"
    values, message = read_yaml(file), f"{type(error).__name__}: {error}".strip()
    if mistake := _mistake(error, values, message):
        return mistake
    if isinstance(error, FileNotFoundError):
        return f"{message}. Data files are looked for from the current folder, included ones from the task file's."
    if isinstance(error, OSError):
        return (
            f"its data ({values.get('dataset_path') or 'see its file'}) are in no Hugging Face cache and cannot be"
            f" downloaded ({message}). Connect to the network once, or point a copy of the task file at local files"
            " (dataset_path: json)."
        )
    return message


def _mistake(error: Exception, values: Mapping[str, Any], message: str) -> str | None:
    """The mistake in a task file with these values that explains an error of lm-eval; None for any other error."""
    import jinja2
    import yaml

    if isinstance(error, yaml.YAMLError):
        return f"a file that it includes is not valid YAML: {error}"
    if isinstance(error, jinja2.UndefinedError):
        return f"{message}: a template of the file names a field that the documents do not have."
    if isinstance(error, KeyError) and error.args[0] in [v for name, v in values.items() if name.endswith("_split")]:
        return f"its data have no split {error.args[0]!r}."
    if isinstance(error, IndexError):
        return f"{message}: perhaps the gold of the first document is none of its options, which count from 0."
    if setting := _UNKNOWN_SETTING.search(message):
        from lm_eval.api.task import TaskConfig

        return unknown("setting of a task", setting.group(1), [field.name for field in fields(TaskConfig)])
    return None


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The values of a task file. `!function` values are None; nothing is included or run. Raises OSError, YAMLError."""
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """Reads `!function` as None."""

    PlainLoader.add_constructor("!function", lambda *_: None)
    values = yaml.load(path.read_bytes(), Loader=PlainLoader)  # noqa: S506 - a safe loader
    return values if isinstance(values, dict) else {}


def built_in(name: str) -> Path | None:
    """The file of a built-in task or group; None for another name."""
    tasks, groups = _index()
    return tasks.get(name) or groups.get(name)


@cache
def _index() -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of all built-in tasks, and of all groups, by name."""
    found: dict[bytes, dict[str, Path]] = {b"task": {}, b"group": {}}
    for file, content in _files():
        of_class = re.search(rb"^class\s*:", content, re.MULTILINE)  # such a file may name a group that is none
        for kind, name in _NAME_LINE.findall(content):
            if kind == b"task" or not of_class:
                found[kind].setdefault(name.decode(), file)
    return found[b"task"], found[b"group"]


def _files() -> Iterator[tuple[Path, bytes]]:
    """All YAML files that ship with lm-eval, with their content. Raises PluginError if lm-eval is not installed."""
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise PluginError("lm-eval is not installed: pip install 'lm-eval[hf]'.")
    for file in sorted((Path(spec.origin).parent / "tasks").rglob("*.yaml")):
        yield file, file.read_bytes()


def tagged(name: str) -> Iterator[str]:
    """The tasks with this tag, which may be inherited from an included file."""
    word = re.compile(rb"(?<![\w.-])" + re.escape(name.encode()) + rb"(?![\w.-])")
    tagged = {f for f, content in _files() if b"tag" in content and word.search(content) and _has_tag(f, name)}
    inheriting = {f for f, content in _files() if _included(f, content) in tagged and not _own_tag(content)}
    for file in tagged | inheriting:
        task = read_yaml(file).get("task")
        if isinstance(task, str):
            yield task


def _has_tag(file: Path, name: str) -> bool:
    return name in as_list(read_yaml(file).get("tag"))


def _own_tag(content: bytes) -> bool:
    return re.search(rb"""^["']?tag["']?\s*:""", content, re.MULTILINE) is not None


def _included(file: Path, content: bytes) -> Path | None:
    """The file that a task file includes; None if it includes none."""
    found = re.search(rb"""^["']?include["']?\s*:\s*["']?([\w./+-]+)""", content, re.MULTILINE)
    return file.parent / found.group(1).decode() if found else None


def as_list(value: Any) -> list[Any]:
    """A list unchanged, another value as a list of one, None as an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
