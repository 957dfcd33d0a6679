"""`mipo-bench new-config` writes a configuration file; `mipo-bench config` shows every setting and its source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipo_bench.harness.commands.options import PATH
from mipo_bench.harness.core.text import without_control_characters

if TYPE_CHECKING:
    from mipo_bench.harness.config.given import GivenSettings


def new_config(
    file: Annotated[Path, typer.Argument(help="The file to write, or - for the standard output.", **PATH)] = Path(
        "run.yaml"
    ),
) -> None:
    """Write a configuration file with every setting, its meaning and its default, all commented out.

    Nothing is overwritten. The file names the JSON Schema of the settings, with which an editor checks it.
    """
    from mipo_bench.harness.config.template import template, write_template

    if str(file) == "-":
        sys.stdout.write(template())
        return
    write_template(file)
    sys.stdout.write(f"Wrote {file}. Next:\n  mipo-bench config --config {file}\n  mipo-bench run --config {file}\n")


def show_config(given: GivenSettings) -> int:
    """Print every setting, its value and its source; exit code 0. Raises ConfigError."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mipo_bench.harness.config.describe import sections, settings, yaml_text
    from mipo_bench.harness.config.given import DEFAULT

    config, source = given.sources()
    table = Table(box=None, pad_edge=False, header_style="")
    for heading in ("setting", "value", "source"):
        table.add_column(heading, overflow="fold")
    for name, section in sections():
        part = getattr(config, name) if name else config
        for setting in settings(name, section):
            origin = source(setting.path)
            cells = (setting.name, yaml_text(getattr(part, setting.path[-1])), origin)
            style = "dim" if origin == DEFAULT else ""
            table.add_row(*(Text(without_control_characters(cell), style=style) for cell in cells))
    Console(highlight=False).print(table)
    return 0
