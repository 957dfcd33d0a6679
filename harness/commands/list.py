"""`mipo-bench list`: the installed and included plugins. Does not import torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.harness.core.text import without_control_characters
from mipo_bench.harness.plugins.optional import (
    data_licence,
    data_source,
    is_judged,
    meant_for,
    runs_by_default,
    uses_data,
)
from mipo_bench.harness.plugins.registry import Origin, Plugins
from mipo_bench.harness.types import ModelKind, Task

_MEANT_FOR: Mapping[ModelKind, str] = {
    "any": "any model",
    "embedded": "the embedded model",
    "real": "any model but the embedded one",
}


def print_plugins(plugins: Plugins, *, verbose: bool = False) -> None:
    """Print tasks, families, baselines and recipes with a description each; with `verbose`, also the origin of each."""
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
    table.add_column(overflow="fold")
    for name, (description, facts) in rows:
        table.add_row(Text(f"  {without_control_characters(name)}"), _text(description))
        if verbose:
            table.add_row("", _text(facts, style="dim"))
    return table


def _text(lines: str, style: str = "") -> Text:
    """Lines of a plugin without control characters, so that they cannot control the terminal."""
    return Text("\n".join(without_control_characters(line) for line in lines.split("\n")), style=style)


def _task_lines(task: Task, origin: Origin) -> tuple[str, str]:
    """The description of a task, and the facts of `--verbose`: version, scoring, models, data, licence, origin."""
    by_name = "" if runs_by_default(task) else " Runs only by name."
    models = f" For {_MEANT_FOR[meant_for(task)]}." if meant_for(task) != "any" else ""
    package = f"{origin.licence}, of the package" if origin.licence else "not stated"
    facts = (
        f"version {task.version}, scored by {'a judge' if is_judged(task) else 'rule'}",
        f"meant for: {_MEANT_FOR[meant_for(task)]}",
        f"data: {data_source(task) or 'of its own'}, {'not included' if uses_data(task) else 'included'}",
        f"licence: {data_licence(task) or package}",
        _from(origin),
    )
    return f"{task.suite}: {task.description}{models}{by_name}", "\n".join(facts)


def _from(origin: Origin) -> str:
    return f"from: {origin.label} ({origin.place})"


def _first_line(family: object) -> str:
    return (inspect.getdoc(family) or "Tasks by name.").splitlines()[0]
