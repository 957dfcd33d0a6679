"""The profile after the request: what stands last is followed most."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task


class Reminder:
    """One user turn: the request, then the profile."""

    name = "reminder"
    description = "The request, and the user's profile after it."
    uses_context = True

    def applies(self, task: Task, item: Item) -> bool:
        """Tasks with users."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The request alone where there is no context."""
        return (Message("user", "\n".join(text for text in (item.prompt, item.context) if text)),)
