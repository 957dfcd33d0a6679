"""Helpers for the tests of a plugin: a task, a baseline or a recipe. They need no model.

    from mipo_bench.harness.testing import answer, failures, load_task

    TASK = load_task("my-task", FILE)

    def test_the_task_passes_all_checks():
        assert failures("my-task", FILE) == []

    def test_the_last_number_counts():
        item = TASK.items("eval")[0]
        assert TASK.score(item, answer("1 or 2, so 3", item)).value == 1

`mipo-bench new-task`, `new-baseline` and `new-recipe` write such a file beside each new plugin.
"""

from __future__ import annotations

from pathlib import Path

from mipo_bench.harness.plugin_checks.every import Scope, checks_of
from mipo_bench.harness.plugin_checks.task import answer
from mipo_bench.harness.plugins.protocol_checks import PluginKind
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.types import Baseline, Recipe, Task

__all__ = ["answer", "failures", "load_baseline", "load_recipe", "load_task"]


def load_task(name: str, file: Path | None = None) -> Task:
    """A task by its name: from the plugin file (or folder) `file`, or else an installed one.

    Raises PluginError if the file is no plugin, ConfigError if no task has the name.
    """
    return load_plugins([file] if file else []).task(name)


def load_baseline(name: str, file: Path | None = None) -> Baseline:
    """A baseline by its name; see `load_task`."""
    return load_plugins([file] if file else []).baseline(name)


def load_recipe(name: str, file: Path | None = None) -> Recipe:
    """A recipe by its name; see `load_task`."""
    return load_plugins([file] if file else []).recipe(name)


def failures(name: str, file: Path | None = None, kind: PluginKind = "task") -> list[str]:
    """The problems that `mipo-bench check-task` (`check-baseline`, `check-recipe`) finds in it, one line each."""
    files = [file] if file else []
    (found,) = checks_of(kind, [name], Scope(load_plugins(files), files))
    return [f"{check.name}: {problem}" for check in found.checks for problem in check.problems]
