"""The family `lm-eval:`: a task, a group as one task, or a file with either."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import PluginError
from mipo_bench.tasks.lm_eval import index
from mipo_bench.tasks.lm_eval.group import LMEvalGroup
from mipo_bench.tasks.lm_eval.task import LMEvalTask

_NAME_AND_SHOTS = re.compile(r"(?P<name>.+?)(?:@(?P<at>\d+)|-(?P<shots>\d+)shot)?")
"""`NAME@5`, or `NAME-5shot` as reports write it."""


def lm_eval_task(rest: str) -> LMEvalTask | LMEvalGroup:
    """One task or group of lm-eval. Loading it reads its data, which are downloaded unless they are in the cache.

    `rest` is NAME or PATH.yaml; an `@SHOTS` after it replaces its own number of shots. Raises PluginError for a task
    that is unknown or malformed, whose data cannot be read, or that has no metric for single items.
    """
    found = _NAME_AND_SHOTS.fullmatch(rest)
    if found is None:
        raise PluginError("lm-eval: the name of the task is missing. Write lm-eval:NAME or lm-eval:PATH.yaml.")
    name, given = found.group("name"), found.group("at") or found.group("shots")
    shots = None if given is None else int(given)
    own_file = index.is_task_file(name)
    file = Path(name).expanduser() if own_file else index.find_file(name)
    asked = f"lm-eval:{rest}"
    if index.is_group(index.definition(file, asked)):
        return _group(file, asked, shots, own_file=own_file)
    return LMEvalTask(index.load_task(file, asked), shots, file.name if own_file else "")


def _group(file: Path, asked: str, shots: int | None, *, own_file: bool) -> LMEvalGroup:
    """The group of a file. Raises PluginError that names the part, and the reason why it is refused."""
    from lm_eval.tasks._factory import TaskFactory
    from lm_eval.tasks._index import Entry, TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    class Factory(TaskFactory):  # type: ignore[misc]
        """Names the part that cannot be built."""

        def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Any:
            try:
                return super()._build_task(entry, overrides)
            except Exception as error:
                why = index.reason(error, entry.yaml_path) if entry.yaml_path else f"{type(error).__name__}: {error}"
                raise PluginError(f"{asked}: its part {entry.name} cannot be loaded: {why}") from error

    index.prepare()
    registry: dict[str, Entry] = TaskIndex.build([file.parent]) if own_file else {}
    config = load_yaml(file, resolve_func=False)
    _complete(registry, config)
    if not config.get("aggregate_metric_list"):
        raise PluginError(
            f"{asked} is a group to which lm-eval gives no figure (aggregate_metric_list):"
            f" {index.one_by_one(list(dict.fromkeys(_leaves(config, registry))))}."
        )
    try:
        group = Factory().build(_entry(file, config), registry=registry)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"{asked} cannot be loaded: {index.reason(error, file)}") from error
    members = {str(task.task_name): task for task in group.get_all_tasks()}
    return LMEvalGroup(group, {name: _part(name, task, shots, asked) for name, task in members.items()}, shots)


def _entry(file: Path, config: Mapping[str, Any]) -> Any:
    """lm-eval's entry of a group file, also one that names no group but has several tasks."""
    from lm_eval.tasks._index import Entry, Kind

    return Entry(name=str(config.get("group", file.stem)), kind=Kind.GROUP, yaml_path=file)


def _part(name: str, task: Any, shots: int | None, asked: str) -> LMEvalTask:
    try:
        return LMEvalTask(task, shots)
    except PluginError as error:
        raise PluginError(f"{asked}: its part {name} is refused: {error}") from error


def _complete(registry: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Add lm-eval's entries of all tasks, groups and tags that a group names, and that these name in turn."""
    from lm_eval.tasks._index import Entry, Kind, TaskIndex
    from lm_eval.tasks._yaml_loader import load_yaml

    waiting, done = list(_names(config)), set()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        file = index.built_in(name)
        if (name not in registry or registry[name].kind is Kind.TAG) and file is not None:
            registry.pop(name, None)
            TaskIndex.process_cfg(load_yaml(file, resolve_func=False), file, registry)
        elif name not in registry or registry[name].kind is Kind.TAG:
            known = registry[name].tags if name in registry else set()
            if tags := {*index.tagged(name), *known}:
                registry[name] = Entry(name=name, kind=Kind.TAG, yaml_path=None, tags=tags)
                waiting += sorted(tags)
        if name in registry and registry[name].kind is Kind.GROUP:
            waiting += _names(registry[name].cfg or {})


def _names(config: Mapping[str, Any]) -> Iterator[str]:
    """The names in the list of tasks of a group, and of the groups that are written inside of it."""
    for entry in index.as_list(config.get("task")):
        if not isinstance(entry, Mapping):
            yield str(entry)
        elif "group" in entry:
            yield from _names(entry) if "task" in entry else [str(entry["group"])]
        else:
            yield from map(str, index.as_list(entry.get("task")))


def _leaves(config: Mapping[str, Any], registry: Mapping[str, Any]) -> Iterator[str]:
    """The tasks of a group as each is asked for: a built-in one by its name, another by the path of its file."""
    from lm_eval.tasks._index import Kind

    for name in _names(config):
        entry = registry.get(name)
        if entry is None or entry.kind is Kind.TAG:
            yield from sorted(entry.tags) if entry else [name]
        elif entry.kind is Kind.GROUP:
            yield from _leaves(entry.cfg or {}, registry)
        else:
            yield name if index.built_in(name) == entry.yaml_path else str(entry.yaml_path)
