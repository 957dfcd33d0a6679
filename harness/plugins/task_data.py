"""The option `--data`: local folders for tasks that read a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mipo_bench.harness.core.files import expanded
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugins.optional import uses_data, with_data
from mipo_bench.harness.types import Task

EVERY = "*"
"""The key of the folder for all tasks without one of their own."""


def folders(value: Any) -> Any:
    """Task -> folder, from a mapping, one folder for all tasks, or a list of `DIR` and `TASK=DIR` (the command line).

    Raises ValueError if a task has two folders.
    """
    if isinstance(value, Mapping):
        return value
    found: dict[str, str | Path] = {}
    for entry in [value] if isinstance(value, str | Path) else value:
        if not isinstance(entry, str | Path):
            raise ValueError(f"{entry!r} is neither DIR nor TASK=DIR")  # noqa: TRY004 - pydantic reports a ValueError
        task, folder = _entry(entry)
        if task in found:
            readers = "all tasks" if task == EVERY else f"task {task!r}"
            raise ValueError(f"two folders for {readers}: {found[task]} and {folder}")
        found[task] = folder
    return found


def given_folders(entries: Sequence[str]) -> dict[str, Path]:
    """`folders` for a command without a configuration. Raises ConfigError if a task has two."""
    try:
        return {task: expanded(folder) for task, folder in folders(entries).items()}
    except ValueError as error:
        raise ConfigError(f"--data: {error}.") from error


def _entry(entry: str | Path) -> tuple[str, str | Path]:
    """(task, folder) of an entry. An existing folder with an equals sign in its name is a folder for all tasks."""
    task, equals, folder = str(entry).partition("=")
    if not equals or "/" in task or expanded(entry).is_dir():
        return EVERY, entry
    return task.strip(), folder.strip()


def on_data(task: Task, data: Mapping[str, Path]) -> Task:
    """The task on its folder; the task unchanged if it reads no data, or no folder is given."""
    folder = data.get(data_name(task, data))
    return task if folder is None or not uses_data(task) else with_data(task, folder)


def data_name(task: Task, data: Mapping[str, Path]) -> str:
    """The key of the task's folder: its name, its name without options (`NAME:OPTION=VALUE`), or that of all tasks."""
    return next((name for name in (task.name, task.name.partition(":")[0]) if name in data), EVERY)


def data_problems(data: Mapping[str, Path], tasks: Iterable[Task]) -> Sequence[str]:
    """A message for each folder that no task of the run reads."""
    reading = {task.name: data_name(task, data) for task in tasks if uses_data(task)}
    these = f"Those that read data: {', '.join(reading)}." if reading else "None of them reads data."
    problems = [
        f"--data {name}={folder}: no task {name!r} of this run reads data. {these}"
        for name, folder in data.items()
        if name != EVERY and name not in reading.values()
    ]
    if EVERY in data and EVERY not in reading.values():
        problems.append(f"--data {data[EVERY]}: no task of this run reads it. {these}")
    return problems
