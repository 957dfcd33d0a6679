"""Few-shot prompting: demonstrations as earlier turns of the chat."""

from __future__ import annotations

from mipo_bench.baselines.prompting.multi_step import system_turn
from mipo_bench.harness.types import Item, Message, Task


class FewShot:
    """The item's demonstrations as earlier turns: the same user's in tasks with users, else training examples."""

    name = "few-shot"
    description = "The item's demonstrations as earlier turns, after the profile if there is one."
    uses_context = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items that carry demonstrations."""
        return bool(item.demonstrations)

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn if the item has context, the demonstrations, then the user turn.

        A demonstration without a response, which holds its answer in the prompt, is a single turn.
        """
        pairs = [(Message("user", t.prompt), Message("assistant", t.response)) for t in item.demonstrations]
        turns = (turn for pair in pairs for turn in pair if turn.role == "user" or turn.content)
        return (*system_turn(item), *turns, Message("user", item.prompt))
