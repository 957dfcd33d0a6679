"""The prompt alone, for tasks without users."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


class Plain:
    """The prompt as it is."""

    name = "plain"
    description = "The prompt alone."
    uses_context = False

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tasks without users."""
        return item.context is None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """One user turn."""
        return (Message("user", item.prompt),)
