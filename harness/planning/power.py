"""The smallest difference that a planned run can find, under assumptions that the output names (`run --dry-run`)."""

from __future__ import annotations

from collections.abc import Iterator

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import is_trained_baseline
from mipo_bench.reports.numbers import plural, unsigned
from mipo_bench.reports.statistics.power import SD, min_nonzero_clusters, required_items, smallest_found

GOAL = 0.05
"""Difference in score for which the required number of items is printed."""


def planned_power(plan: Plan, config: RunConfig) -> Iterator[str]:
    """Lines with the smallest difference of the primary comparisons, and the assumptions; none without comparisons."""
    family = _primary(plan)
    if not family:
        return
    tasks = [t for t in plan.tasks if t.task.name in {task for task, _ in family}]
    found = "; ".join(f"{t.task.name} {_smallest(t, config, len(family))}" for t in tasks)
    items = required_items(GOAL, SD**2, config.alpha / len(family))
    yield (
        f"smallest difference that this plan can find (80% power): {found}; a difference of {GOAL:g} takes {items:,}"
        " independent items"
    )
    members = plural(len(family), "primary comparison")
    yield (
        f"  assumed: the difference of an item has a standard deviation of {SD:g}, as if a quarter of 0/1 scores change"
        f" (with half of it, the figures halve), and {members} at alpha {config.alpha:g} (Holm). A range: from"
        " independent items to users whose items all change together. Differences between training seeds come on top."
    )


def _primary(plan: Plan) -> set[tuple[str, str]]:
    """(task, recipe) of the primary comparisons, declared before the run. Trained baselines are not among them."""
    trained_baselines = {name for name, recipe in plan.recipes.items() if is_trained_baseline(recipe)}
    return {(a.task, a.recipe) for a in plan.arms if a.recipe is not None and a.recipe not in trained_baselines}


def _smallest(plan: TaskPlan, config: RunConfig, family: int) -> str:
    users = len({item.user_id or item.id for item in plan.items})
    needed = min_nonzero_clusters(config.alpha, family)
    if config.seeds == 1 and users < needed:
        return f"none (one training seed needs {needed} users or items that change, there are {users})"
    found = smallest_found(len(plan.items), users, config.alpha / family)
    if found is None or found.independent > 1:
        return "none (too few users or items)"
    alike = "more than 1" if found.alike > 1 else unsigned(found.alike)
    return unsigned(found.independent) + (f" to {alike}" if users < len(plan.items) else "")
