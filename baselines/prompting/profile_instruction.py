"""The user's profile with an explicit instruction to follow it."""

from __future__ import annotations

from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Follow every wish of this user in your answer."


class ProfileInstruction:
    """Personalized prompting: the profile, then an instruction to follow it, as system message."""

    name = "profile-instruction"
    description = "The profile as system message, plus an instruction to follow it."
    uses_context = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items of a user."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn with the instruction after the profile (left out without one), then the user turn."""
        system = (Message("system", f"{item.context} {INSTRUCTION}"),) if item.context else ()
        return (*system, Message("user", item.prompt))
