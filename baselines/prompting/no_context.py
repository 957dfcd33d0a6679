"""The request without the user's context: every user gets the same prompt."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


class NoContext:
    """Prompting without the user's context."""

    name = "no-context"
    description = "The request alone, without what is known about the user."
    uses_context = False

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items of a user."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """One user turn."""
        return (Message("user", item.prompt),)
