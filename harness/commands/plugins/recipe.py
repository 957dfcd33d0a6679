"""`mipo-bench check-recipe` checks a training recipe; `mipo-bench new-recipe` writes the file of a new one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption
from mipo_bench.harness.commands.plugins.checks import OnTasksOption, run_checks


def check_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A recipe, or a file with recipes: all of them.")],
    task: OnTasksOption = None,
    include: IncludeOption = None,
    data: DataOption = None,
) -> None:
    """Check a training recipe without a model, in seconds.

    No contrast has the prompt of its item or shows the evaluation; each
    seed draws the same contrasts again, in a second process too; enough
    pairs are left to train on. A recipe's code runs with your rights.

    Exit codes: 0 fine; 1 a check failed; 2 no such recipe, or it cannot
    be loaded.
    """
    raise typer.Exit(run_checks("recipe", name, include, data, task))


def new_recipe(
    name: Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.'.")],
    kind: Annotated[
        Literal["other-user", "less-context", "other-prompt"],
        typer.Option(help="The prompt of the rejected response: that of another user, with less context, or another."),
    ] = "other-user",
    out: Annotated[Path, typer.Option(help="Folder to write to; created if missing.", **PATH)] = Path(),
) -> None:
    """Write a small training recipe in one file, with its tests beside it.

    Nothing is overwritten.
    """
    from mipo_bench.harness.plugins.new_plugin import write_plugin

    written = write_plugin("recipe", name, kind, out)
    file = shlex.quote(str(written.file))
    task = "arithmetic" if kind == "other-prompt" else "persona"
    sys.stdout.write(
        f"Wrote {written.file}, a recipe ({kind}), and {written.test}. Next:\n"
        f"  mipo-bench check-recipe {file}\n"
        f"  mipo-bench run --include {file} --task {task} --recipes {name} --seeds 1 --limit 12\n"
    )
