"""`mipo-bench check-task` checks a task without a model; `mipo-bench new-task` writes the file of a new one."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mipo_bench.harness.commands.options import PATH, DataOption, IncludeOption
from mipo_bench.harness.core.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mipo_bench.harness.plugins.check_items import CheckResult
    from mipo_bench.harness.plugins.registry import Plugins
    from mipo_bench.harness.types import Task

_SHOWN = 5
"""Problems of one check that are printed."""


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
    from mipo_bench.harness.errors import ConfigError
    from mipo_bench.harness.plugins.check_task import check_task as checks_of
    from mipo_bench.harness.plugins.import_check import check_imports
    from mipo_bench.harness.plugins.registry import load_plugins
    from mipo_bench.harness.plugins.second_process import in_second_process
    from mipo_bench.harness.plugins.task_data import data_name, data_problems, given_folders, on_data

    as_file = _is_path(name)
    paths = [*([Path(name)] if as_file else []), *(include or [])]
    check_imports(paths)
    plugins = load_plugins(paths)
    tasks = _tasks_of(Path(name), plugins) if as_file else [plugins.task(name)]
    folders = given_folders(data or ())
    if problems := data_problems(folders, tasks):
        raise ConfigError("\n".join(problems))
    failed = 0
    for task in (on_data(task, folders) for task in tasks):
        folder = folders.get(data_name(task, folders))
        asked = task.name if as_file else name  # a task from a file of lm-eval is not found by its own name
        failed += _print(task, plugins, checks_of(task, plugins, partial(in_second_process, asked, paths, folder)))
    raise typer.Exit(1 if failed else 0)


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


def _is_path(name: str) -> bool:
    """Whether the argument is written as a path. A folder that has the name of a task is not loaded by that name."""
    if ":" in name.partition("/")[0] or name.lower().endswith((".yaml", ".yml")):
        return False  # a family's task, whose name can be a path
    return name.endswith(".py") or "/" in name or name in (".", "..")


def _tasks_of(path: Path, plugins: Plugins) -> list[Task]:
    """The tasks that a file or folder announces. Raises PluginError if there is none."""
    from mipo_bench.harness.errors import PluginError
    from mipo_bench.harness.plugins.included_files import included_files

    labels = {source.label for source in included_files(path)}
    found = [task for name, task in plugins.tasks.items() if plugins.origins["task", name].label in labels]
    if not found:
        raise PluginError(f"{path} announces no task: end it with TASKS = [MyTask], a list of its classes.")
    return found


def _print(task: Task, plugins: Plugins, checks: Iterable[CheckResult]) -> int:
    """Print each check when it is done; returns the number of failed checks."""
    origin = plugins.origins.get(("task", task.name))
    where = f", {origin.label}" if origin else ""
    sys.stdout.write(f"{task.name} ({task.suite}, version {task.version}{where})\n")
    failed = 0
    for check in checks:
        failed += bool(check.problems)
        first, *more = (redact(line) for line in check.problems[:_SHOWN] or (check.done,))
        sys.stdout.write(f"  {'FAIL' if check.problems else 'ok':<5} {check.name:<10} {first}\n")
        more += [f"and {len(check.problems) - _SHOWN} more"] if len(check.problems) > _SHOWN else []
        sys.stdout.writelines(f"{'':<19}{line}\n" for line in more)
        sys.stdout.flush()
    verdict = f"{failed} check{'s' if failed > 1 else ''} failed" if failed else "all checks passed"
    sys.stdout.write(f"{task.name}: {verdict}.\n")
    return failed
