"""`mipo-bench list`: what is installed and included. Loads no torch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.harness.plugins import Origin, Plugins
from mipo_bench.harness.types import JudgedTask, Task


def print_plugins(plugins: Plugins, *, verbose: bool = False) -> None:
    """Tasks, families, baselines and recipes with their one-line descriptions; where each comes from, if `verbose`."""
    groups: dict[str, list[tuple[str, Sequence[str]]]] = {
        "tasks": [(name, _task_lines(task, plugins.origins["task", name])) for name, task in plugins.tasks.items()],
        "task families": [
            (f"{name}:NAME", (_first_line(family), _from(plugins.origins["family", name])))
            for name, family in plugins.families.items()
        ],
        "baselines": [
            (name, (b.description, _from(plugins.origins["baseline", name]))) for name, b in plugins.baselines.items()
        ],
        "recipes": [
            (name, (r.description, _from(plugins.origins["recipe", name]))) for name, r in plugins.recipes.items()
        ],
    }
    console = Console(highlight=False)
    for title, rows in groups.items():
        if rows:
            console.print(Text(title, style="bold"))
            console.print(_table(rows, verbose=verbose))


def _table(rows: Sequence[tuple[str, Sequence[str]]], *, verbose: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=22, no_wrap=True)
    for name, (description, facts) in rows:
        table.add_row(Text(f"  {name}"), Text(description))
        if verbose:
            table.add_row("", Text(facts, style="dim"))
    return table


def _task_lines(task: Task, origin: Origin) -> tuple[str, str]:
    """What a task is, and what is to be known about it before its scores are used."""
    by_name = "" if getattr(task, "default", True) else " Runs only by name."
    scored = "a judge" if isinstance(task, JudgedTask) else "rule"
    own = "not stated" if getattr(task, "uses_data", False) else "its own"
    data = getattr(task, "source", own) + (" (not included)" if getattr(task, "uses_data", False) else "")
    package = f"{origin.licence} (of the package)" if origin.licence else "not stated"
    licence = getattr(task, "licence", package)
    facts = f"version {task.version}, scored by {scored}; data: {data}; licence: {licence}; {_from(origin)}"
    return f"{task.suite}: {task.description}{by_name}", facts


def _from(origin: Origin) -> str:
    return f"from {origin.label} ({origin.place})"


def _first_line(family: object) -> str:
    return (inspect.getdoc(family) or "Tasks by name.").splitlines()[0]
