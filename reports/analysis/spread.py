"""The variance components of a comparison in a report: what a plan of the next run starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mipo_bench.harness.errors import ReportError, unknown
from mipo_bench.reports.analysis.comparisons import scores_of
from mipo_bench.reports.records.report import ComparisonRecord, Report, TaskRecord
from mipo_bench.reports.statistics.align import pair
from mipo_bench.reports.statistics.design import Components, Design, estimate_components


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance components of one comparison, with its own design and the cost of its answers.

    `trained` counts the arms that are trained (0, 1 or 2). `design.items` is the mean number of items of a user,
    rounded. `tokens` is the mean number of new tokens of an answer, None if it is not known. `several_items` says that
    users have several items, whose own spread is known.
    """

    task: str
    method: str
    base: str
    components: Components
    design: Design
    trained: int
    has_users: bool
    several_items: bool
    tokens: float | None


def pair_of(report: Report, arm: str | None, base: str | None) -> tuple[TaskRecord, str, str]:
    """The task, method and base that `arm` (TASK/METHOD) and `base` name; else the only primary comparison.

    Raises ReportError for an unknown arm, with the nearest name, and for several primary comparisons, with all names.
    """
    if arm is None:
        only = _only_primary(report)
        task, method = _task(report, only.task), only.method
    else:
        arms = dict.fromkeys(f"{a.task}/{a.method}" for a in report.arms)
        if arm not in arms:
            raise ReportError(f"the report does not have this arm: {unknown('arm', arm, arms)}")
        task = next(
            t for t in report.tasks if arm.startswith(f"{t.name}/") and report.group(t.name, arm[len(t.name) + 1 :])
        )
        method = arm[len(task.name) + 1 :]
    against = base or task.reference
    if against == method:
        raise ReportError(f"{task.name}/{method} is compared with itself: name another arm with --against.")
    known = dict.fromkeys(a.method for a in report.arms if a.task == task.name)
    if against not in known:
        raise ReportError(f"{task.name}/{method} cannot be compared: {unknown('arm', against, known)}")
    return task, method, against


def _only_primary(report: Report) -> ComparisonRecord:
    primary = [c for c in report.comparisons if c.family == "primary"]
    if not report.comparisons:
        raise ReportError("the report has no comparison to plan for.")
    if len(primary) != 1:
        count = f"{len(primary)} primary comparisons" if primary else "no primary comparison"
        names = ", ".join(f"{c.task}/{c.method}" for c in primary or report.comparisons)
        raise ReportError(f"the report has {count}: choose an arm with --arm TASK/METHOD. It has {names}.")
    return primary[0]


def _task(report: Report, name: str) -> TaskRecord:
    return next(task for task in report.tasks if task.name == name)


def spread_of(report: Report, task: TaskRecord, method: str, base: str) -> Spread:
    """Estimate the components from the scores of both arms. Raises ReportError if they have no spread to plan with."""
    arms, reference = report.group(task.name, method), report.group(task.name, base)
    name = f"{task.name}: {method} against {base}"
    if not arms or not reference:
        raise ReportError(f"{name}: {method if not arms else base} has no scores in this report.")
    try:
        paired = pair(scores_of(task, reference), scores_of(task, arms), "drop")
        components = estimate_components(paired.difference, paired.cluster)
    except ValueError as error:
        raise ReportError(f"{name}: {error}") from error
    seeds, items = paired.difference.shape
    return Spread(
        task=task.name,
        method=method,
        base=base,
        components=components,
        design=Design(len(paired.clusters), max(1, round(items / len(paired.clusters))), seeds),
        trained=sum(group[0].train_seed is not None for group in (arms, reference)),
        has_users=task.users is not None,
        several_items=items > len(paired.clusters),
        tokens=float(np.mean([n for arm in (*arms, *reference) for n in arm.n_tokens])),
    )
