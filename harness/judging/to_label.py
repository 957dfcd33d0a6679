"""What the judging of a plan will take, and what is left for people to judge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from mipo_bench.harness.config.schema import RunConfig
from mipo_bench.harness.judging.assign import is_judged, rules_decide
from mipo_bench.harness.planning.plan import Plan
from mipo_bench.harness.training.pairs import seed_of
from mipo_bench.harness.types import Question

TO_JUDGE = "to-judge.jsonl"
"""Beside the report: comparisons for which a file of verdicts has none."""


def planned_judging(plan: Plan, config: RunConfig) -> Iterator[str]:
    """A line for each judged task: by whom, and the most calls that it can take."""
    settings = config.judge
    for task in (t for t in plan.tasks if is_judged(t.task)):
        by = settings.by or ("rules" if rules_decide(task.task) else None)
        if by is None:
            yield f"! {task.task.name} has no judge: name one with --judge"
        elif by == "rules" or by.startswith("file:"):
            yield f"{task.task.name}: judged by {by}, {settings.protocol}"
        else:
            arms = sum(arm.task == task.task.name for arm in plan.arms)  # the reference's own ratings, or no questions
            calls = len(task.items) * (2 * (arms - 1) if settings.protocol == "pairwise" else arms)
            calls = calls * (1 + settings.shuffled) + settings.retest
            yield f"{task.task.name}: judged by {by}, {settings.protocol}, at most {calls:,} calls and as many retries"


def unjudged(questions: Iterable[Question]) -> str:
    """The questions as lines to be labelled, each pair of responses once, in an order drawn by lot."""
    lines: dict[tuple[str, ...], dict[str, object]] = {}
    for q in questions:
        texts = (q.first,) if q.second is None else (q.first, q.second)
        place = (q.item.prompt, q.item.context or "", *sorted(texts))
        if place in lines:
            continue
        shown = sorted(texts, reverse=seed_of("to-judge", *place) % 2 == 0)
        row: dict[str, object] = {"prompt": q.item.prompt, "context": q.item.context, "rubric": q.rubric}
        row |= dict(zip("ab", shown, strict=False))
        lines[place] = row | ({"rating": None} if q.second is None else {"label": None})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values())
