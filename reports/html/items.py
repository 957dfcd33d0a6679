"""The items whose texts the HTML report holds: all, those with a changed score, or those without a usable answer."""

from __future__ import annotations

from typing import Literal

from mipo_bench.reports.records.report import Report, TaskRecord

Which = Literal["changed", "failed", "all"]


def chosen_items(report: Report, task: TaskRecord, which: Which) -> set[str]:
    """The ids of the chosen items of a task.

    `changed`: the mean score over training seeds differs between base and method of a primary comparison, or of any
    comparison where none is primary. `failed`: a response failed, was cut, or had no readable answer.
    """
    if which == "all":
        return set(task.items)
    return _changed(report, task) if which == "changed" else _failed(report, task)


def _changed(report: Report, task: TaskRecord) -> set[str]:
    own = [c for c in report.comparisons if c.task == task.name]
    pairs = {(c.base, c.method) for c in own if c.family == "primary"} or {(c.base, c.method) for c in own}
    means = {method: _means(report, task, method) for pair in pairs for method in pair}
    return {
        item
        for base, method in pairs
        for item, before, after in zip(task.items, means[base], means[method], strict=False)
        if before != after
    }


def _means(report: Report, task: TaskRecord, method: str) -> list[float]:
    arms = report.group(task.name, method)
    return [sum(scores) / len(scores) for scores in zip(*(arm.scores for arm in arms), strict=True)]


def _failed(report: Report, task: TaskRecord) -> set[str]:
    arms = [arm for arm in report.arms if arm.task == task.name]
    return {item for arm in arms for item in (*arm.truncated, *arm.unparsed, *arm.failed)}
