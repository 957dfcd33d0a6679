"""Context-aware decoding (Shi et al. 2023, arXiv 2305.14739).

Each token is chosen by (1 + a) l(y|context, prompt) - a l(y|prompt) of the logits l; a is `cad.weight`.
"""

from __future__ import annotations

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.types import ContrastUse, Item, Message, Task


class ContextAwareDecoding(Profile):
    """The profile as system message, its effect on every token amplified."""

    name = "cad"
    description = "Context-aware decoding: the profile's effect on every token, amplified."
    default = False
    contrast_use: ContrastUse = "decoding"

    def applies(self, task: Task, item: Item) -> bool:
        """Tasks with users whose responses are generated."""
        return super().applies(task, item) and task.max_new_tokens > 0

    def contrast(self, item: Item) -> tuple[Message, ...]:
        """The request without what is known about the user."""
        return (Message("user", item.prompt),)
