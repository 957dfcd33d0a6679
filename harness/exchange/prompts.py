"""The prompts of a run as rows for another program to answer (`mipo-bench export-prompts`).

A row with the answer as `response` is a row of RESPONSES.jsonl. Arms that need more than one prompt for an item, or
likelihoods, cannot be answered in one go and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mipo_bench.harness.core.seeding import seed_of
from mipo_bench.harness.errors import described
from mipo_bench.harness.evaluation.failures import recorded
from mipo_bench.harness.generators.chat_template import framed
from mipo_bench.harness.planning.plan import Plan, TaskPlan
from mipo_bench.harness.protocols import Arm, Prompt
from mipo_bench.harness.types import Baseline, ContrastedBaseline, Item, Message, SteppedBaseline

Render = Callable[[Sequence[Message], str | None], Prompt]
"""Turns a chat into a prompt. Raises ContextLostError if the second argument, the user's context, is not in it."""


@dataclass(frozen=True, slots=True)
class PromptRows:
    """The rows of a plan. `failed` fills up while `rows` is read, with a line for each prompt that cannot be made."""

    plan: Plan
    render: Render
    rendered: bool
    """Whether the rows have the text that the model's chat template makes of the chat."""
    failed: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """A row for each item of each arm that one prompt answers."""
        for task in self.plan.tasks:
            for arm in self.plan.arms_of(task.task.name, trained=False):
                baseline = self.plan.baselines[arm.baseline]
                if why_not(baseline):
                    continue
                for item in task.items:
                    row: Mapping[str, Any] | None = None
                    with recorded(partial(self._record, arm, item)):
                        row = self._row(task, arm, baseline, item)
                    if row is not None:
                        yield row

    def _record(self, arm: Arm, item: Item, error: BaseException) -> None:
        self.failed.append(f"{arm.task}, {arm.method}, {item.id}: {described(error)}")

    def _row(self, task: TaskPlan, arm: Arm, baseline: Baseline, item: Item) -> Mapping[str, Any]:
        prompt = self.render(framed(baseline.messages(item), item), item.context if baseline.uses_context else None)
        decoding = task.decoding
        return {
            "task": arm.task,
            "item_id": item.id,
            "arm": arm.method,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            **({"prompt": prompt.text} if self.rendered else {}),
            **({"options": list(item.options)} if item.options else {}),
            "decoding": {
                "max_new_tokens": decoding.max_new_tokens,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p,
                "stop": list(decoding.stop),
            },
            "sample_seed": arm.sample_seed,
            "seed": seed_of("evaluation", arm.task, item.id, arm.sample_seed),
        }


def left_out(plan: Plan) -> dict[str, str]:
    """Baseline -> the reason why its arms cannot be exported, for those of the plan that cannot."""
    reasons = {arm.baseline: why_not(plan.baselines[arm.baseline]) for arm in plan.arms}
    return {name: reason for name, reason in reasons.items() if reason}


def why_not(baseline: Baseline) -> str:
    """The reason why one prompt does not answer an item with this baseline; empty if it does."""
    if isinstance(baseline, SteppedBaseline):
        return f"asks in {baseline.steps} prompts in turn, each with the response to the one before it"
    if isinstance(baseline, ContrastedBaseline):
        return "compares the probabilities under two prompts"
    return ""
