"""Zero-shot chain of thought (Kojima et al. 2022, arXiv 2205.11916): ask for the steps before the answer."""

from __future__ import annotations

from mipo_bench.baselines.prompting.multi_step import system_turn
from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Think step by step, then give the answer."


class ChainOfThought:
    """The prompt, followed by a request to reason before the answer."""

    name = "chain-of-thought"
    description = "The prompt plus a request to think step by step."
    uses_context = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for tasks that allow reasoning before the answer."""
        return task.reasoning

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn if the item has context, then the user turn with the instruction."""
        return (*system_turn(item), Message("user", f"{item.prompt}\n{INSTRUCTION}"))
