"""Self-refine (Madaan et al. 2023, arXiv 2303.17651), one round: answer, feedback on it, refined answer.

`SelfCritic` asks for feedback on the user's preferences alone (PrefEval, Zhao et al. 2025, arXiv 2502.09597).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mipo_bench.baselines.prompting.multi_step import MultiStep, system_turn
from mipo_bench.harness.types import Item, Message, Task

FEEDBACK = "What is wrong or missing in this answer? Name what should change."
CRITIQUE = "Does this answer follow my preferences? Name every point in which it does not."
REFINE = "Write the answer again with these changes, and nothing else."


class SelfRefine(MultiStep):
    """Three steps: answer, criticise the answer, refine it. Only the refined answer is scored."""

    name = "self-refine"
    description = "Three steps: the model answers, criticises its answer, and writes it again."
    steps = 3
    feedback: ClassVar[str] = FEEDBACK

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The profile as system turn, then the request."""
        return (*system_turn(item), Message("user", item.prompt))

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """The chat so far, then the instruction to give feedback (second step) or to refine (third step)."""
        chat = (*self.messages(item), Message("assistant", earlier[0]), Message("user", self.feedback))
        if len(earlier) == 1:
            return chat
        return (*chat, Message("assistant", earlier[1]), Message("user", REFINE))


class SelfCritic(SelfRefine):
    """Three steps: answer, criticise the answer by the user's preferences, write it again."""

    name = "self-critic"
    description = "Three steps: the model answers, checks its answer against the preferences, and writes it again."
    feedback = CRITIQUE

    def applies(self, task: Task, item: Item) -> bool:
        """True for generated responses to items of a user."""
        return item.context is not None and super().applies(task, item)
