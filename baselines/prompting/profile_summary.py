"""Profile summary: the model summarises the profile, then answers with the summary instead of the profile."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.types import Item, Message, Task

INSTRUCTION = "Sum up in one or two sentences how to answer this user."


class ProfileSummary(Profile):
    """Two steps: summarise the profile without seeing the request; answer the request with the summary alone."""

    name = "profile-summary"
    description = "Two steps: the model sums up the profile, then answers with the summary instead."
    default = False
    steps = 2
    context_steps = 1

    def applies(self, task: Task, item: Item) -> bool:
        """True for items of a user, in tasks whose responses are generated."""
        return super().applies(task, item) and task.max_new_tokens > 0

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The profile, then the instruction to summarise it. The request is not shown."""
        return (*super().messages(item)[:-1], Message("user", INSTRUCTION))

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """The summary as system turn (left out if it is empty), then the request."""
        system = (Message("system", earlier[0]),) if earlier[0].strip() else ()
        return (*system, Message("user", item.prompt))
