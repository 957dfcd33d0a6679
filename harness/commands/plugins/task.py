"""`mipo-bench check-task` checks a task without a model; `mipo-bench new-task` writes the file of a new one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption
from mipo_bench.harness.commands.plugins.checks import run_checks


def check_task(
    name: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A task, or a file with tasks: all of them.")],
    include: IncludeOption = None,
    data: DataOption = None,
) -> None:
    """Check a task without a model, in seconds.

    Gold responses score 1 and wrong ones 0, odd ones stay within [0, 1];
    items are the same in a second process; evaluation and training share
    nothing; prompts of every baseline contain the context. A task's code
    runs with your rights.

    Exit codes: 0 fine; 1 a check failed; 2 no such task, or it cannot be
    loaded.
    """
    raise typer.Exit(run_checks("task", name, include, data))


def new_task(
    name: Annotated[str, typer.Argument(help="Letters, digits, '-', '_' and '.'.")],
    kind: Annotated[
        Literal["personalized", "math", "choice", "judged", "lm-eval"],
        typer.Option(help="The kind of task, which decides how responses are scored."),
    ] = "personalized",
    out: Annotated[Path, typer.Option(help="Folder to write to; created if missing.", **PATH)] = Path(),
) -> None:
    """Write a complete small task with its tests beside it.

    The task is one file; one of lm-eval is a folder. Nothing is overwritten.
    """
    from mipo_bench.harness.plugins.new_task import write_task

    written = write_task(name, kind, out)
    article, checked = "a", shlex.quote(str(written.task))
    chosen = f"--include {checked} --task {name}"
    if kind == "lm-eval":
        article, checked = "an", shlex.quote(f"lm-eval:{written.task}")
        chosen = f"--task {checked}"
    others = "".join(f"{file}, " for file in written.others)
    sys.stdout.write(
        f"Wrote {written.task}, {article} {kind} task, {others}and {written.test}. Next:\n"
        f"  mipo-bench check-task {checked}\n"
        f"  mipo-bench run {chosen} --limit 6 --recipes none{' --judge rules' if kind == 'judged' else ''}\n"
    )
