"""`mipo-bench --help`, which lists the commands in the order of use, and `--version`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

JOURNEYS: Mapping[str, tuple[str, ...]] = {
    "Run": ("run", "power", "new-config", "config", "doctor", "export-prompts"),
    "Read": ("show", "html", "history", "read-answer"),
    "Compare": ("compare", "diff"),
    "Extend": (
        *("list", "new-task", "check-task", "new-baseline", "check-baseline", "new-recipe", "check-recipe"),
        "check-judge",
    ),
    "Maintain": ("store",),
}
"""The headings of `--help` with their commands, in the order of use."""


class JourneyGroup(TyperGroup):
    """A group of commands whose help has one list for each heading of JOURNEYS, and one for any other command."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the lists. Both arguments are of the click that typer brings."""
        width = max(map(len, self.commands))
        known = {name for names in JOURNEYS.values() for name in names}
        others = tuple(name for name in self.list_commands(ctx) if name not in known)
        for heading, names in {**JOURNEYS, "Others": others}.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(formatter.width - width - 6))
                for name in names
                if name in self.commands
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def print_version(wanted: bool) -> None:
    """The callback of `--version`: print the version of the installed package and stop."""
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"mipo-bench {version('mipo-bench')}\n")
        raise typer.Exit
