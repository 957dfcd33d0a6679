"""`mipo-bench list`: what is installed. Loads no torch."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mipo_bench.harness.plugins import Plugins


def print_plugins(plugins: Plugins) -> None:
    """Tasks, baselines and recipes with their one-line descriptions."""
    groups = {
        "tasks": [(t.name, f"{t.suite}: {t.description}") for t in plugins.tasks.values()],
        "baselines": [(b.name, b.description) for b in plugins.baselines.values()],
        "recipes": [(r.name, r.description) for r in plugins.recipes.values()],
    }
    console = Console(highlight=False)
    for title, rows in groups.items():
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=22, no_wrap=True)
        for name, description in rows:
            table.add_row(Text(f"  {name}"), Text(description))
        console.print(table)
