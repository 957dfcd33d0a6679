"""Chain of thought about the user, in two steps, so that the reasoning is not part of the scored response."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.baselines.prompting.multi_step import MultiStep, system_turn
from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Do not answer yet. Think step by step about what this user would want of the answer."


class UserThoughts(MultiStep):
    """Two steps: reason about the user's wishes; answer the request, with that reasoning in the prompt."""

    name = "user-thoughts"
    description = "Two steps: the model thinks about what the user wants, then answers with its thoughts in the prompt."

    def applies(self, task: Task, item: Item) -> bool:
        """True for items of a user, in tasks whose responses are generated."""
        return super().applies(task, item) and item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The profile as system turn, then the request with the instruction to reason about the user."""
        return (*system_turn(item), Message("user", f"{item.prompt}\n{INSTRUCTION}"))

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """The profile as system turn, then the request with the model's reasoning after it."""
        return (*system_turn(item), Message("user", f"{item.prompt}\nWhat this user wants: {earlier[0]}"))
