"""`mipo-bench check-baseline` checks a prompting baseline; `mipo-bench new-baseline` writes the file of a new one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption
from mipo_bench.harness.commands.plugins.checks import OnTasksOption, run_checks


def check_baseline(
    name: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="A baseline, or a file with baselines: all of them.")
    ],
    task: OnTasksOption = None,
    include: IncludeOption = None,
    data: DataOption = None,
) -> None:
    """Check a prompting baseline without a model, in seconds.

    Chats have a valid order of roles and, where promised, the context;
    steps run to the end on scripted responses; prompts are the same in a
    second process. Prints the cost of an item beside the task's reference.
    A baseline's code runs with your rights.

    Exit codes: 0 fine; 1 a check failed; 2 no such baseline, or it cannot
    be loaded.
    """
    raise typer.Exit(run_checks("baseline", name, include, data, task))


def new_baseline(
    name: Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.'.")],
    kind: Annotated[
        Literal["plain", "stepped", "contrasted"],
        typer.Option(help="One prompt, several in turn, or a prompt beside a contrast prompt."),
    ] = "plain",
    out: Annotated[Path, typer.Option(help="Folder to write to; created if missing.", **PATH)] = Path(),
) -> None:
    """Write a small prompting baseline in one file, with its tests beside it.

    Nothing is overwritten.
    """
    from mipo_bench.harness.plugins.new_plugin import write_plugin

    written = write_plugin("baseline", name, kind, out)
    file = shlex.quote(str(written.file))
    sys.stdout.write(
        f"Wrote {written.file}, a {kind} baseline, and {written.test}. Next:\n"
        f"  mipo-bench check-baseline {file}\n"
        f"  mipo-bench run --include {file} --task persona --baselines profile,{name} --limit 12"
        " --recipes none\n"
    )
