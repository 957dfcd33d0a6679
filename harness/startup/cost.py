"""Estimates the tokens and judge calls of a run, for `mipo-bench run --dry-run`.

A prompt token is taken as four characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mipo_bench.harness.config.judge_spec import JudgeConfig, JudgeSpec
from mipo_bench.harness.config.schema import BestOfNConfig, RunConfig
from mipo_bench.harness.evaluation.shuffled_profiles import other_user_of, target_is_option
from mipo_bench.harness.generators.remote import CHARACTERS_PER_TOKEN
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.plugins.optional import is_checked, is_judged, repeats, rules_decide
from mipo_bench.harness.protocols import Arm
from mipo_bench.harness.types import Baseline, ContrastedBaseline, Item, SteppedBaseline


@dataclass(frozen=True, slots=True)
class Answers:
    """Prompts and responses: their number, the characters of the prompts, and the largest number of new tokens."""

    count: int = 0
    characters: int = 0
    new: int = 0

    @property
    def prompt(self) -> int:
        """The estimated prompt tokens."""
        return self.characters // CHARACTERS_PER_TOKEN

    def __add__(self, other: Answers) -> Answers:
        """Both together."""
        return Answers(self.count + other.count, self.characters + other.characters, self.new + other.new)

    def times(self, number: int) -> Answers:
        """So many of them."""
        return Answers(number * self.count, number * self.characters, number * self.new)


def planned_tokens(task: TaskPlan, plan: Plan, config: RunConfig) -> tuple[int, int]:
    """Estimated prompt tokens and largest number of new tokens of a task's evaluation, its control, and its pairs."""
    arms = [arm for arm in plan.arms if arm.task == task.task.name]
    found = sum((arm_answers(task, arm, plan, config) for arm in arms), pair_answers(task, plan, config))
    return found.prompt, found.new


def arm_answers(task: TaskPlan, arm: Arm, plan: Plan, config: RunConfig) -> Answers:
    """The responses of one arm, those of its shuffled-profile control among them; none where its prompts are unknown.

    The control asks the reference and the trained arms again where the target is an option that suits the user.
    """
    if arm.baseline not in plan.baselines:
        return Answers()
    baseline = plan.baselines[arm.baseline]
    times = responses_per_item(baseline, config.best_of_n) * repeats(task.task)
    found = _answers(task, baseline, task.items).times(times)
    trains = any(plan.arms_of(task.task.name, trained=True))
    is_asked = trains and plan.prompts_known and not is_judged(task.task) and target_is_option(task.task, task.items)
    if is_asked and arm.baseline == task.reference and not arm.aa_twin and (other := other_user_of(task.items)):
        found += _answers(task, baseline, [item.asked_by(other[item.id]) for item in task.items])
    return found


def pair_answers(task: TaskPlan, plan: Plan, config: RunConfig) -> Answers:
    """The chosen and rejected responses of every recipe and training seed."""
    if not task.training_items or not task.recipes:
        return Answers()
    once = _answers(task, plan.baselines[task.reference], task.training_items)
    return once.times(2 * len(task.recipes) * config.seeds)


def _answers(task: TaskPlan, baseline: Baseline, items: Iterable[Item]) -> Answers:
    """One response to each item."""
    lengths = [sum(len(message.content) for message in baseline.messages(item)) for item in items]
    return Answers(len(lengths), sum(lengths), len(lengths) * task.decoding.max_new_tokens)


def responses_per_item(baseline: Baseline, settings: BestOfNConfig) -> int:
    """The number of responses that the baseline generates for each item."""
    if isinstance(baseline, SteppedBaseline):
        return baseline.steps
    use = baseline.contrast_use if isinstance(baseline, ContrastedBaseline) else "decoding"
    return {"decoding": 1, "reranking": settings.samples, "options": 0}[use]


def planned_judging(plan: Plan, config: RunConfig) -> Iterator[str]:
    """One line for each judged task and judge: the judge, and the largest number of its calls."""
    for task in (t for t in plan.tasks if is_judged(t.task)):
        if config.judge.spec is None and not rules_decide(task.task):
            yield f"! {task.task.name} has no judge: name one with --judge"
        else:
            yield from (_planned_calls(task, name, plan, config.judge) for name in config.judge.names)


def _planned_calls(task: TaskPlan, by: str, plan: Plan, settings: JudgeConfig) -> str:
    """The line of one judge."""
    name, arms = task.task.name, sum(arm.task == task.task.name for arm in plan.arms)
    if JudgeSpec.parse(by).kind in ("rules", "file", "nli"):  # no calls
        return f"{name}: judged by {by}, {settings.protocol}"
    if is_checked(task.task):
        questions = sum(len(task.task.checks(item)) for item in task.items)
        calls = questions * arms * (1 + settings.shuffled) + settings.retest
        return f"{name}: judged by {by}, at most {calls:,} questions and as many retries"
    # pairwise compares each other arm with the reference, in both orders
    calls = len(task.items) * (2 * (arms - 1) if settings.protocol == "pairwise" else arms)
    calls = calls * (1 + settings.shuffled) + settings.retest
    return f"{name}: judged by {by}, {settings.protocol}, at most {calls:,} calls and as many retries"
