"""Context-aware decoding (Shi et al. 2023, arXiv 2305.14739).

Each token is chosen from the logits (1 + a) l(y|context, prompt) - a l(y|prompt), where a is `cad.weight`.
"""

from __future__ import annotations

from mipo_bench.baselines.prompting.profile import Profile
from mipo_bench.harness.types import ContrastUse, Item, Message, Task


class ContextAwareDecoding(Profile):
    """Prompt with the profile as system message and amplify its effect on the logits of every token."""

    name = "cad"
    description = "Context-aware decoding: the profile's effect on every token, amplified."
    default = False
    contrast_use: ContrastUse = "decoding"

    def applies(self, task: Task, item: Item) -> bool:
        """True for items of a user, in tasks whose responses are generated."""
        return super().applies(task, item) and task.max_new_tokens > 0

    def contrast(self, item: Item) -> tuple[Message, ...]:
        """The chat for the second forward pass: the request without the user's context."""
        return (Message("user", item.prompt),)
