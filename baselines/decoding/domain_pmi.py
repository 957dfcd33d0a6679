"""Domain-conditional pointwise mutual information for multiple choice (Holtzman et al. 2021, arXiv 2104.08315).

The answer is the option with the highest log p(option|prompt) - log p(option|domain). The domain is a prompt that only
announces an answer, so an option gains nothing from being a likely text in itself.
"""

from __future__ import annotations

from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.harness.types import ContrastUse, Item, Message, Task

DOMAIN = "Answer the question."


class DomainPmi(Plain):
    """Choose the option by log-likelihoods; nothing is generated."""

    name = "domain-pmi"
    description = "Multiple choice by log p(option|prompt) - log p(option|a prompt without the question)."
    default = False
    contrast_use: ContrastUse = "options"

    def applies(self, task: Task, item: Item) -> bool:
        """True for items with options and without a user."""
        return super().applies(task, item) and bool(item.options)

    def contrast(self, item: Item) -> tuple[Message, ...]:  # noqa: ARG002 - the protocol's signature
        """The domain prompt, which announces an answer without asking the question."""
        return (Message("user", DOMAIN),)
