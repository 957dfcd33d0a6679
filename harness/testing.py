"""Helpers for the tests of a plugin's tasks. They need no model.

    from mipo_bench.harness.testing import answer, failures, load_task

    TASK = load_task("my-task", FILE)

    def test_the_task_passes_all_checks():
        assert failures("my-task", FILE) == []

    def test_the_last_number_counts():
        item = TASK.items("eval")[0]
        assert TASK.score(item, answer("1 or 2, so 3", item)).value == 1

`mipo-bench new-task` writes such a file beside each new task.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mipo_bench.harness.plugins.check_task import answer, check_task
from mipo_bench.harness.plugins.registry import load_plugins
from mipo_bench.harness.plugins.second_process import in_second_process
from mipo_bench.harness.types import Task

__all__ = ["answer", "failures", "load_task"]


def load_task(name: str, file: Path | None = None) -> Task:
    """A task by its name: from the plugin file (or folder) `file`, or else an installed one.

    Raises PluginError if the file is no plugin, ConfigError if no task has the name.
    """
    return load_plugins([file] if file else []).task(name)


def failures(name: str, file: Path | None = None) -> list[str]:
    """The problems that `mipo-bench check-task` finds in the task, one line each."""
    files = [file] if file else []
    plugins = load_plugins(files)
    checks = check_task(plugins.task(name), plugins, partial(in_second_process, name, files))
    return [f"{check.name}: {problem}" for check in checks for problem in check.problems]
