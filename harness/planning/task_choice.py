"""Chooses the tasks of a run: those that the user names, else those of the suite that are meant for the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.errors import ConfigError
from mipo_bench.harness.generators.model_folder import EMBEDDED_MODEL
from mipo_bench.harness.plugins.optional import is_judged, meant_for, rules_decide, runs_by_default
from mipo_bench.harness.plugins.registry import Plugins
from mipo_bench.harness.types import ModelKind, Task

_MODELS: Mapping[ModelKind, str] = {"embedded": "the embedded model", "real": "models other than the embedded one"}


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """The tasks of a run by name, a message for each name that is wrong, and notes for the report."""

    tasks: dict[str, Task]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose_tasks(config: RunConfig, plugins: Plugins) -> TaskChoice:
    """The tasks of the run. Raises PluginError for a task of a family that cannot be made."""
    return _named(config, plugins) if config.tasks else _of_suite(config, plugins)


def _of_suite(config: RunConfig, plugins: Plugins) -> TaskChoice:
    """The tasks of the suite that run by default and are meant for the model; judged ones where a judge is given."""
    fitting = {
        name: task
        for name, task in sorted(plugins.tasks.items())
        if config.suite in ("all", task.suite) and runs_by_default(task) and meant_for(task) in ("any", _kind(config))
    }
    unjudged = [n for n, t in fitting.items() if is_judged(t) and config.judge.spec is None and not rules_decide(t)]
    notes = [f"not in this run, because only a judge can score them (--judge): {', '.join(unjudged)}"]
    return TaskChoice({n: t for n, t in fitting.items() if n not in unjudged}, notes=notes if unjudged else [])


def _named(config: RunConfig, plugins: Plugins) -> TaskChoice:
    """The tasks that the user names, whatever they are meant for."""
    choice = TaskChoice({})
    for name in config.tasks:
        try:
            task = plugins.task(name)
        except ConfigError as error:
            choice.problems.append(str(error))
            continue
        first = choice.tasks.setdefault(task.name, task)
        if first is not task and first.items("eval") != task.items("eval"):
            choice.problems.append(f"{name} is another task that is called {task.name!r}, too. Rename one in its file.")
    if config.source.kind != "responses":  # the file does not say which model gave them
        choice.notes.extend(
            f"task {name!r} is meant for {_MODELS[meant_for(task)]}: its scores say little about this one"
            for name, task in choice.tasks.items()
            if meant_for(task) not in ("any", _kind(config))
        )
    return choice


def _kind(config: RunConfig) -> ModelKind:
    """The kind of the run's model."""
    return "embedded" if config.model == EMBEDDED_MODEL else "real"
