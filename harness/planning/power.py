"""The smallest difference that a planned run can find, by a former report or by assumption (`run --dry-run`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import is_trained_baseline
from mipo_bench.reports.analysis.spread import spread_of
from mipo_bench.reports.numbers import plural, unsigned
from mipo_bench.reports.records.report import Report
from mipo_bench.reports.records.report_file import run_id
from mipo_bench.reports.statistics.design import Design
from mipo_bench.reports.statistics.power import SD, min_nonzero_clusters, required_items, smallest_found

GOAL = 0.05
"""Difference in score for which the required number of items is printed."""


def planned_power(plan: Plan, config: RunConfig, former: Report | None = None) -> Iterator[str]:
    """Lines with the smallest difference of the primary comparisons, and its grounds; none without comparisons.

    A comparison that `former` has under two training seeds or more is planned by its spread there.
    """
    family = _primary(plan)
    known = _by_former(plan, config, family, former) if former else {}
    if former and known:
        found = "; ".join(f"{task} {recipe} {smallest}" for (task, recipe), smallest in sorted(known.items()))
        yield f"smallest difference that this plan can find (80% power): {found}"
        members = plural(len(family), "primary comparison")
        yield (
            f"  by the spread of the scores in {config.out} (run {run_id(former)}, model {former.model.name}), with the"
            f" users, items and {config.seeds} seeds of this plan, and {members} at alpha {config.alpha:g} (Holm)."
            " `mipo-bench power` plans other designs."
        )
    if family - known.keys():
        yield from _assumed(plan, config, family, family - known.keys())


def _by_former(
    plan: Plan, config: RunConfig, family: set[tuple[str, str]], former: Report
) -> dict[tuple[str, str], str]:
    """The smallest differences of the comparisons whose spread the former report has."""
    tasks = {task.task.name: task for task in plan.tasks}
    found = {}
    for name, recipe in family:
        planned, users = tasks[name], _users(tasks[name])
        items = max(1, round(len(planned.items) / users))
        past, seeds = former.task(name), len(former.group(name, recipe))
        if past is None or min(seeds, config.seeds) < 2 or not former.group(name, planned.reference):
            continue
        if min(users, len(set(past.users or past.items))) < 2:
            continue
        spread = spread_of(former, past, recipe, planned.reference)
        if (items == 1 or spread.several_items) and any(astuple(spread.components)):
            smallest = Design(users, items, config.seeds).smallest_difference(
                spread.components, config.alpha / len(family)
            )
            found[name, recipe] = "none" if smallest is None or smallest > 1 else unsigned(smallest)
    return found


def _users(plan: TaskPlan) -> int:
    """The number of users, or of items without users."""
    return len({item.user_id or item.id for item in plan.items})


def _assumed(
    plan: Plan, config: RunConfig, family: set[tuple[str, str]], unknown: set[tuple[str, str]]
) -> Iterator[str]:
    """Lines for the comparisons that no report tells about."""
    tasks = [t for t in plan.tasks if t.task.name in {task for task, _ in unknown}]
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
    users = _users(plan)
    needed = min_nonzero_clusters(config.alpha, family)
    if config.seeds == 1 and users < needed:
        return f"none (one training seed needs {needed} users or items that change, there are {users})"
    found = smallest_found(len(plan.items), users, config.alpha / family)
    if found is None or found.independent > 1:
        return "none (too few users or items)"
    alike = "more than 1" if found.alike > 1 else unsigned(found.alike)
    return unsigned(found.independent) + (f" to {alike}" if users < len(plan.items) else "")
