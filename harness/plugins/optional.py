"""Reads the optional attributes of plugins, with their defaults; `protocol_checks` checks their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Literal, TypeGuard, cast

from mipo_bench.harness.checks import CheckedTask
from mipo_bench.harness.errors import ConfigError, PluginError
from mipo_bench.harness.types import (
    Baseline,
    DataState,
    Item,
    JudgedTask,
    ModelKind,
    Objective,
    Recipe,
    Response,
    Score,
    Similarity,
    SteppedBaseline,
    Task,
)


def runs_by_default(plugin: Task | Baseline | Recipe) -> bool:
    """Whether the plugin runs when none is named; otherwise it runs only by name."""
    return bool(getattr(plugin, "default", True))


def meant_for(task: Task) -> ModelKind:
    """The models with whose suites the task runs, by default any."""
    found: ModelKind = getattr(task, "meant_for", "any")
    return found


def is_judged(task: Task) -> TypeGuard[JudgedTask]:
    """Whether the task is scored by a judge."""
    return isinstance(task, JudgedTask)


def is_checked(task: Task) -> TypeGuard[CheckedTask]:
    """Whether a judge answers checks of the task with yes or no."""
    return isinstance(task, CheckedTask)


def rules_decide(task: Task) -> bool:
    """Whether the task declares that its rule checks can decide between two responses."""
    return bool(getattr(task, "rules_decide", False))


def data_source(task: Task) -> str | None:
    """The data set of the task, in its own words; None if the task states none."""
    found: str | None = getattr(task, "source", None)
    return found


def data_licence(task: Task) -> str | None:
    """The licence of the task's data; None if the task states none."""
    found: str | None = getattr(task, "licence", None)
    return found


def uses_data(task: Task) -> bool:
    """Whether the task reads a data set that does not come with it."""
    return bool(getattr(task, "uses_data", False))


def with_data(task: Task, folder: Path) -> Task:
    """The task on the files of the folder. Raises PluginError if the task has no method `with_data`."""
    method = getattr(task, "with_data", None)
    if method is None:
        raise PluginError(f"task {task.name!r} has uses_data = True, but no method with_data(folder).")
    return cast("Task", method(folder))


def with_options(task: Task, options: str) -> Task:
    """The task with these options. Raises ConfigError for an option that the task does not have."""
    method = getattr(task, "with_options", None)
    if method is None:
        raise ConfigError(f"task {task.name!r} has no options: write {task.name} in place of {task.name}:{options}.")
    return cast("Task", method(options))


def corpus_parts(task: Task, items: Sequence[Item], scores: Sequence[Score]) -> Mapping[str, Sequence[float]]:
    """Figures of all scores together: name -> one value for each item, whose mean it is. Raises PluginError."""
    method = getattr(task, "corpus_parts", None)
    found = cast("Mapping[str, Sequence[float]]", method(items, scores)) if method else {}
    for name, values in found.items():
        if len(values) != len(items):
            raise PluginError(
                f"task {task.name!r}: corpus_parts has {len(values)} values of {name!r} for {len(items)} items."
            )
    return found


def data_state(task: Task) -> tuple[DataState, str] | None:
    """Whether a run would find the task's data, and a sentence about it; None if the task has no `data_state`."""
    method = getattr(task, "data_state", None)
    return cast("tuple[DataState, str]", method()) if method else None


def data_used(task: Task) -> dict[str, str | int] | None:
    """Figures and texts about the data that the task has read, for the report; None if it has no `data_used`."""
    method = getattr(task, "data_used", None)
    return dict(method()) if method else None


def filtered(task: Task, item: Item, response: Response) -> dict[str, str]:
    """Filter -> the text that it reads from a response; empty for a task that has no `filtered`."""
    method = getattr(task, "filtered", None)
    return dict(method(item, response)) if method else {}


def repeats(task: Task) -> int:
    """How often each item is asked, by default once."""
    found: int = getattr(task, "repeats", 1)
    return found


def group_average(task: Task) -> Literal["micro", "macro"] | None:
    """Whether the items or the parts of a group of tasks count alike; None for a task that is no group."""
    found: Literal["micro", "macro"] | None = getattr(task, "average", None)
    return found


def context_steps(baseline: SteppedBaseline) -> int:
    """Number of prompts, from the first, that contain the context; by default all `steps` of the baseline."""
    found: int = getattr(baseline, "context_steps", baseline.steps)
    return found


def objective_of(recipe: Recipe) -> Objective:
    """The training objective of the recipe, by default DPO."""
    found: Objective = getattr(recipe, "objective", "dpo")
    return found


def shares_pairs_of(recipe: Recipe) -> str:
    """The name of the recipe whose random draws this one repeats: its own unless it names another."""
    found: str = getattr(recipe, "shares_pairs_of", recipe.name)
    return found


def several_contrasts(recipe: Recipe) -> Callable[[Sequence[Item], Random, int, Similarity], list[list[Item]]] | None:
    """The recipe's method that gives several contrasts for each item; None where it has none."""
    found: Callable[[Sequence[Item], Random, int, Similarity], list[list[Item]]] | None
    found = getattr(recipe, "several_contrasts", None)
    return found


def reward_kind(recipe: Recipe) -> Literal["score", "judge"]:
    """The reward of a GRPO recipe, by default the task's own score."""
    found: Literal["score", "judge"] = getattr(recipe, "reward", "score")
    return found


def is_trained_baseline(recipe: Recipe) -> bool:
    """Whether the recipe is a trained baseline that other recipes are compared with."""
    return bool(getattr(recipe, "is_trained_baseline", False))
