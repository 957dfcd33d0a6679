"""`--data`: point tasks that read a data set at local files; and what they have read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugins.optional import uses_data, with_data
from mipo_bench.harness.types import Task

EVERY = "*"
"""The key of the folder for all tasks that have none of their own."""


def folders(value: Any) -> Any:
    """Task -> folder, of a folder for all tasks, of a mapping, or of `DIR` and `TASK=DIR` as on the command line.

    Raises ValueError where a task has two.
    """
    if isinstance(value, Mapping):
        return value
    found: dict[str, str | Path] = {}
    for entry in [value] if isinstance(value, str | Path) else value:
        if not isinstance(entry, str | Path):
            raise ValueError(f"{entry!r} is neither DIR nor TASK=DIR")  # noqa: TRY004 - pydantic reports a ValueError
        task, folder = _entry(entry)
        if task in found:
            whose = "all tasks" if task == EVERY else f"task {task!r}"
            raise ValueError(f"two folders for {whose}: {found[task]} and {folder}")
        found[task] = folder
    return found


def given_folders(entries: Sequence[str]) -> dict[str, Path]:
    """`folders` of a command that has no configuration. Raises ConfigError."""
    try:
        return {task: Path(folder) for task, folder in folders(entries).items()}
    except ValueError as error:
        raise ConfigError(f"--data: {error}.") from error


def _entry(entry: str | Path) -> tuple[str, str | Path]:
    """The task of `TASK=DIR`; a folder whose own name has an equals sign is taken for a folder."""
    task, equals, folder = str(entry).partition("=")
    if not equals or "/" in task or Path(entry).is_dir():
        return EVERY, entry
    return task.strip(), folder.strip()


def on_data(task: Task, data: Mapping[str, Path]) -> Task:
    """The task on the folder that is meant for it; the task itself where it reads none, or none is given."""
    folder = data.get(task.name, data.get(EVERY))
    return task if folder is None or not uses_data(task) else with_data(task, folder.expanduser())


def data_problems(data: Mapping[str, Path], tasks: Iterable[Task]) -> Sequence[str]:
    """Folders that no task of the run would read."""
    reading = [task.name for task in tasks if uses_data(task)]
    these = f"Those that read data: {', '.join(reading)}." if reading else "None of them reads data."
    problems = [
        f"--data {name}={folder}: no task {name!r} of this run reads data. {these}"
        for name, folder in data.items()
        if name != EVERY and name not in reading
    ]
    if EVERY in data and not set(reading) - set(data):
        problems.append(f"--data {data[EVERY]}: no task of this run reads it. {these}")
    return problems
