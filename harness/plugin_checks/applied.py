"""The tasks to which a baseline or recipe applies, with their items, for its checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mipo_bench.harness.plugin_checks.items import RAISED, CheckResult, Items, call_plugin, read_items
from mipo_bench.harness.plugins.protocol_checks import shown
from mipo_bench.harness.types import Baseline, Recipe, Task


@dataclass(frozen=True, slots=True)
class TaskItems:
    """A task with its items."""

    task: Task
    items: Items

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name


def applied(plugin: Baseline | Recipe, tasks: Sequence[Task]) -> tuple[list[TaskItems], CheckResult]:
    """The tasks to which the plugin applies, as its `applies` says of their first item, and the result of the check."""
    problems: list[str] = []
    found = [task_items for task in tasks if (task_items := _read(task, problems))]
    fitting = [ti for ti in found if _applies(plugin, ti, problems)]
    others = [ti.name for ti in found if ti not in fitting]
    if not fitting and not problems:
        problems.append(
            f"it applies to no task ({', '.join(others) or 'none given'}): repair applies(), or name its task with"
            " --task, and the file of that task with --include"
        )
    done = f"to {', '.join(ti.name for ti in fitting)}" + (f"; not to {', '.join(others)}" if others else "")
    return fitting, CheckResult("applies", done, tuple(problems))


def _read(task: Task, problems: list[str]) -> TaskItems | None:
    """The items of the task; None if they cannot be used, which is added to `problems`."""
    items, check = read_items(task)
    if items is None:
        problems.append(
            f"task {task.name!r} cannot be used: {check.problems[0]}; see mipo-bench check-task {task.name}"
        )
        return None
    return TaskItems(task, items)


def _applies(plugin: Baseline | Recipe, found: TaskItems, problems: list[str]) -> bool:
    action = f"task {found.name!r}: applies()"
    answer = call_plugin(action, partial(plugin.applies, found.task, found.items.splits["eval"][0]), problems)
    if not isinstance(answer, bool):
        problems += [] if answer is RAISED else [f"{action} gives {shown(answer)}, not True or False"]
        return False
    return answer
