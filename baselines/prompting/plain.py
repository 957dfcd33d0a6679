"""The prompt alone, for tasks without users."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


class Plain:
    """Prompting without any addition."""

    name = "plain"
    description = "The prompt alone."
    uses_context = False

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items without a user."""
        return item.context is None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """One user turn."""
        return (Message("user", item.prompt),)
