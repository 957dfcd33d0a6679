"""Estimates the tokens and judge calls of a run, for `mipo-bench run --dry-run`."""

from __future__ import annotations

from collections.abc import Iterator

from mipo_bench.harness.config.judge_spec import JudgeSpec
from mipo_bench.harness.config.schema import BestOfNConfig, RunConfig
from mipo_bench.harness.generators.remote import CHARACTERS_PER_TOKEN
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import is_judged, rules_decide
from mipo_bench.harness.types import Baseline, ContrastedBaseline, SteppedBaseline


def planned_tokens(task: TaskPlan, plan: Plan, config: RunConfig) -> tuple[int, int]:
    """Estimated prompt tokens and largest number of new tokens of a task's evaluation and pairs.

    A prompt token is taken as four characters.
    """
    characters = answers = 0
    for arm in plan.arms:
        if arm.task == task.task.name and arm.baseline in plan.baselines:
            baseline = plan.baselines[arm.baseline]
            count = responses_per_item(baseline, config.best_of_n)
            characters += count * sum(len(m.content) for item in task.items for m in baseline.messages(item))
            answers += count * len(task.items)
    pairs = 2 * len(task.recipes) * config.seeds if task.training_items else 0
    if pairs:
        reference = plan.baselines[task.reference]
        characters += pairs * sum(len(m.content) for i in task.training_items for m in reference.messages(i))
    answers += pairs * len(task.training_items)
    return characters // CHARACTERS_PER_TOKEN, answers * task.decoding.max_new_tokens


def responses_per_item(baseline: Baseline, settings: BestOfNConfig) -> int:
    """The number of responses that the baseline generates for each item."""
    if isinstance(baseline, SteppedBaseline):
        return baseline.steps
    use = baseline.contrast_use if isinstance(baseline, ContrastedBaseline) else "decoding"
    return {"decoding": 1, "reranking": settings.samples, "options": 0}[use]


def planned_judging(plan: Plan, config: RunConfig) -> Iterator[str]:
    """One line for each judged task: its judge, and the largest number of calls."""
    settings = config.judge
    for task in (t for t in plan.tasks if is_judged(t.task)):
        spec = settings.spec or (JudgeSpec("rules") if rules_decide(task.task) else None)
        by = settings.name or "rules"
        if spec is None:
            yield f"! {task.task.name} has no judge: name one with --judge"
        elif spec.kind in ("rules", "file"):
            yield f"{task.task.name}: judged by {by}, {settings.protocol}"
        else:
            arms = sum(arm.task == task.task.name for arm in plan.arms)
            # pairwise compares each other arm with the reference, in both orders
            calls = len(task.items) * (2 * (arms - 1) if settings.protocol == "pairwise" else arms)
            calls = calls * (1 + settings.shuffled) + settings.retest
            yield f"{task.task.name}: judged by {by}, {settings.protocol}, at most {calls:,} calls and as many retries"
