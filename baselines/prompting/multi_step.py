"""What the prompting baselines of several steps share."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


def system_turn(item: Item) -> tuple[Message, ...]:
    """The item's context as system turn; nothing without one."""
    return (Message("system", item.context),) if item.context else ()


class MultiStep:
    """Prompts of every step show the item's context where it has one."""

    default = False
    uses_context = True
    steps = 2

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tasks whose responses are generated."""
        return task.max_new_tokens > 0
