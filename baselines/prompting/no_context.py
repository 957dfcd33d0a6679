"""The request alone, although the task has users: what the model says to everybody."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


class NoContext:
    """No user context."""

    name = "no-context"
    description = "The request alone, without what is known about the user."
    uses_context = False

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tasks with users."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """One user turn."""
        return (Message("user", item.prompt),)
