"""The checks of plugins by kind and name, as the commands and the tests of plugins run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.plugin_checks.baseline import check_baseline
from mipo_bench.harness.plugin_checks.items import CheckResult, ElsewhereOn
from mipo_bench.harness.plugin_checks.recipe import check_recipe
from mipo_bench.harness.plugin_checks.second_process import Asked, in_second_process
from mipo_bench.harness.plugin_checks.task import check_task
from mipo_bench.harness.plugins.optional import uses_data
from mipo_bench.harness.plugins.protocol_checks import PluginKind
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.plugins.task_data import data_problems, on_data
from mipo_bench.harness.types import Baseline, Recipe, Task


@dataclass(frozen=True, slots=True)
class Scope:
    """The plugins, the included files among them, and the folders of `--data` by task.

    `tasks` are those that a baseline or recipe is checked on; by default all whose items come with them.
    """

    plugins: Plugins
    include: Sequence[Path] = ()
    tasks: Sequence[str] = ()
    data: Mapping[str, Path] = field(default_factory=dict)

    @property
    def on(self) -> Sequence[str]:
        """The names of these tasks."""
        return self.tasks or [name for name, task in self.plugins.tasks.items() if not uses_data(task)]


@dataclass(frozen=True, slots=True)
class Checked:
    """A plugin with its checks, each of which runs when it is asked for."""

    plugin: Task | Baseline | Recipe
    checks: Iterator[CheckResult]


def checks_of(kind: PluginKind, names: Sequence[str], scope: Scope) -> list[Checked]:
    """The checks of the plugins of these names.

    Raises ConfigError if there is no such plugin or task, or no task reads a folder of `--data`; DataError if the data
    of a task cannot be read.
    """
    plugins = scope.plugins
    found = {name: plugins.task(name) for name in (names if kind == "task" else scope.on)}
    if problems := data_problems(scope.data, found.values()):
        hint = [] if kind == "task" or scope.tasks else ["Name the task that reads it with --task."]
        raise ConfigError("\n".join([*problems, *hint]))
    tasks = {name: on_data(task, scope.data) for name, task in found.items()}
    asked_as = {task.name: name for name, task in tasks.items()}  # a task from a file of lm-eval has another name

    def elsewhere(name: str) -> ElsewhereOn:
        return lambda on: in_second_process(Asked(kind, name, scope.include, [asked_as[n] for n in on], scope.data))

    if kind == "task":
        return [Checked(task, check_task(task, plugins, partial(elsewhere(name), ()))) for name, task in tasks.items()]
    on = list(tasks.values())
    if kind == "baseline":
        baselines = {name: plugins.baseline(name) for name in names}
        return [Checked(b, check_baseline(b, on, plugins, elsewhere(name))) for name, b in baselines.items()]
    recipes = {name: plugins.recipe(name) for name in names}
    return [Checked(r, check_recipe(r, on, plugins, elsewhere(name))) for name, r in recipes.items()]
