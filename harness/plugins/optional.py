"""The optional attributes of plugins, read in one place, with their defaults."""

from __future__ import annotations

from typing import TypeGuard

from mipo_bench.harness.types import JudgedTask, Objective, Recipe, Task


def objective_of(recipe: Recipe) -> Objective:
    """What the recipe's examples are trained with."""
    found: Objective = getattr(recipe, "objective", "dpo")
    return found


def is_judged(task: Task) -> TypeGuard[JudgedTask]:
    """Whether the task is scored by a judge."""
    return isinstance(task, JudgedTask)


def rules_decide(task: Task) -> bool:
    """Whether the task declares that its rule checks can decide between two responses."""
    return bool(getattr(task, "rules_decide", False))
