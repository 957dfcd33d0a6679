"""Shared code of the prompting baselines: the system turn, and the base class for several generation steps."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


def system_turn(item: Item) -> tuple[Message, ...]:
    """The item's context as a system turn; an empty tuple for an item without context."""
    return (Message("system", item.context),) if item.context else ()


class MultiStep:
    """Base of baselines that generate several times. Every prompt shows the item's context if there is one."""

    default = False
    uses_context = True
    steps = 2

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for tasks whose responses are generated."""
        return task.max_new_tokens > 0
