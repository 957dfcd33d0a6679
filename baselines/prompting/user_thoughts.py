"""Chain of thought about the user: first what they would want, then the answer, so that no thought is scored."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.baselines.prompting.multi_step import MultiStep, system_turn
from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Do not answer yet. Think step by step about what this user would want of the answer."


class UserThoughts(MultiStep):
    """The model reasons about the user's wishes, then answers with its thoughts before it."""

    name = "user-thoughts"
    description = "Two steps: the model thinks about what the user wants, then answers with its thoughts at hand."

    def applies(self, task: Task, item: Item) -> bool:
        """Tasks with users whose responses are generated."""
        return super().applies(task, item) and item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """Profile and request, and the wish to think first."""
        return (*system_turn(item), Message("user", f"{item.prompt}\n{INSTRUCTION}"))

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """Profile and request, and the thoughts after it."""
        return (*system_turn(item), Message("user", f"{item.prompt}\nWhat this user wants: {earlier[0]}"))
