"""The user's profile with an explicit instruction to follow it, beside the profile or behind the request."""

from __future__ import annotations

from mipo_bench.baselines.prompting.multi_step import system_turn
from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Follow every wish of this user in your answer."
REMINDER = "Please take what you know about me into account, and give an answer that fits my preferences."


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


class ProfileReminder:
    """The reminder of PrefEval (Zhao et al. 2025, arXiv 2502.09597): one sentence behind the request."""

    name = "profile-reminder"
    description = "The profile as system message, and a reminder of it behind the request."
    uses_context = True
    default = False

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for items of a user."""
        return item.context is not None

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The system turn, then the request and the reminder (left out without a profile) as the user turn."""
        request = f"{item.prompt}\n\n{REMINDER}" if item.context else item.prompt
        return (*system_turn(item), Message("user", request))
