"""The user's profile as the system message."""

from __future__ import annotations

from mipo_bench.baselines.prompting.multi_step import system_turn
from mipo_bench.harness.types import Item, Message, Task


class Profile:
    """Personalized prompting: the profile is the whole system message."""

    name = "profile"
    description = "The user's profile as system message."
    uses_context = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items of a user."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn (left out if the item has no context), then the user turn."""
        return (*system_turn(item), Message("user", item.prompt))
