"""The items whose texts the HTML report holds: all, those with a changed score, or those without a usable answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.reports.records.report import Report, TaskRecord

Which = Literal["changed", "failed", "all"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The texts that the file shall hold: of which items, of at most how many of a task, and of which arms.

    `arms` has TASK/METHOD patterns; without any, the file holds the responses of every arm.
    """

    which: Which
    most: int | None = None
    arms: tuple[str, ...] = ()


def chosen_items(report: Report, task: TaskRecord, choice: Choice) -> set[str]:
    """The ids of the chosen items of a task.

    `changed`: the mean score over training seeds differs between base and method of a primary comparison, or of any
    comparison where none is primary. `failed`: a response failed, was cut, or had no readable answer. Of more than
    `choice.most` items, a part is drawn by a fixed seed: half of it from the changed ones, if there are so many.
    """
    changed = _changed(report, task)
    found = {"all": set(task.items), "changed": changed, "failed": _failed(report, task)}[choice.which]
    if choice.most is None or len(found) <= choice.most:
        return found
    first, second = _drawn(task, found & changed), _drawn(task, found - changed)
    half = max(choice.most // 2, choice.most - len(second))
    return {*first[:half], *second[: choice.most - len(first[:half])]}


def _drawn(task: TaskRecord, items: Iterable[str]) -> list[str]:
    """The items in a random order, always the same one."""
    return sorted(items, key=lambda item: (seed_of("html items", task.name, item), item))


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
