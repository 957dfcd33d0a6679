"""Runs and prints the checks of `check-task`, `check-baseline` and `check-recipe`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mipo_bench.harness.core.redaction import redact
from mipo_bench.harness.types import Task

if TYPE_CHECKING:
    from mipo_bench.harness.plugin_checks.every import Checked
    from mipo_bench.harness.plugins.protocol_checks import PluginKind
    from mipo_bench.harness.plugins.registry import Plugins

OnTasksOption = Annotated[
    list[str] | None,
    typer.Option("--task", help="A task to check it on; by default each whose items come with it. Repeat for more."),
]
_SHOWN = 5
"""Problems of one check that are printed."""


def run_checks(
    kind: PluginKind,
    name: str,
    include: Sequence[Path] | None,
    data: Sequence[str] | None,
    tasks: Sequence[str] | None = None,
) -> int:
    """Check the plugin of that name, or all of the kind that a file announces; the exit code.

    `data` are the entries of `--data`, `tasks` those to check a baseline or recipe on.
    """
    from mipo_bench.harness.plugin_checks.every import Scope, checks_of
    from mipo_bench.harness.plugins.import_check import check_imports
    from mipo_bench.harness.plugins.registry import load_plugins
    from mipo_bench.harness.plugins.task_data import given_folders

    as_file = _is_path(name)
    paths = [*([Path(name)] if as_file else []), *(include or ())]
    check_imports(paths)
    plugins = load_plugins(paths)
    names = _in_file(kind, Path(name), plugins) if as_file else [_of_kind(kind, name, plugins)]
    scope = Scope(plugins, paths, tasks or (), given_folders(data or ()))
    failed = sum(_print(kind, checked, plugins) for checked in checks_of(kind, names, scope))
    return 1 if failed else 0


def _is_path(name: str) -> bool:
    """Whether the argument is written as a path. A folder that has the name of a task is not loaded by that name."""
    if ":" in name.partition("/")[0] or name.lower().endswith((".yaml", ".yml")):
        return False  # a family's task, whose name can be a path
    return name.endswith(".py") or "/" in name or name in (".", "..")


def _of_kind(kind: PluginKind, name: str, plugins: Plugins) -> str:
    """The name unchanged. Raises ConfigError if only a plugin of another kind has it."""
    from mipo_bench.harness.errors import ConfigError

    kinds = [of for of, known in plugins.origins if known == name and of != "family"]
    if kinds and kind not in kinds:
        raise ConfigError(f"{name!r} is a {kinds[0]}: write mipo-bench check-{kinds[0]} {name}")
    return name


def _in_file(kind: PluginKind, path: Path, plugins: Plugins) -> list[str]:
    """The plugins of the kind that a file or folder announces. Raises PluginError if there is none."""
    from mipo_bench.harness.errors import PluginError
    from mipo_bench.harness.plugins.included_files import included_files

    labels = {source.label for source in included_files(path)}
    here = [key for key, origin in plugins.origins.items() if origin.label in labels]
    if found := sorted(name for of, name in here if of == kind):
        return found
    others = dict.fromkeys(of for of, _ in here if of != "family")
    hint = "".join(f" For its {of}s: mipo-bench check-{of} {path}" for of in others)
    example = f"{kind.upper()}S = [My{kind.capitalize()}]"
    raise PluginError(f"{path} announces no {kind}: end it with {example}, a list of its classes.{hint}")


def _print(kind: PluginKind, checked: Checked, plugins: Plugins) -> int:
    """Print each check when it is done; returns the number of failed checks."""
    plugin, name = checked.plugin, checked.plugin.name
    origin = plugins.origins.get((kind, name))
    where = f", {origin.label}" if origin else ""
    about = f"{plugin.suite}, version {plugin.version}" if isinstance(plugin, Task) else kind
    sys.stdout.write(f"{name} ({about}{where})\n")
    failed = 0
    for check in checked.checks:
        failed += bool(check.problems)
        first, *more = (redact(line) for line in check.problems[:_SHOWN] or check.done.split("\n"))
        sys.stdout.write(f"  {'FAIL' if check.problems else 'ok':<5} {check.name:<10} {first}\n")
        more += [f"and {len(check.problems) - _SHOWN} more"] if len(check.problems) > _SHOWN else []
        sys.stdout.writelines(f"{'':<19}{line}\n" for line in more)
        sys.stdout.flush()
    verdict = f"{failed} check{'s' if failed > 1 else ''} failed" if failed else "all checks passed"
    sys.stdout.write(f"{name}: {verdict}.\n")
    return failed
