"""Domain-conditional pointwise mutual information for multiple choice (Holtzman et al. 2021, arXiv 2104.08315).

The answer is the option of the highest log p(option|prompt) - log p(option|domain), where the domain is a prompt that
only announces an answer: what an option owes to being a likely text in itself is taken out.
"""

from __future__ import annotations

from mipo_bench.baselines.prompting.plain import Plain
from mipo_bench.harness.types import ContrastUse, Item, Message, Task

DOMAIN = "Answer the question."


class DomainPmi(Plain):
    """The prompt alone; the options' likelihoods decide, nothing is generated."""

    name = "domain-pmi"
    description = "Multiple choice by log p(option|prompt) - log p(option|a prompt without the question)."
    default = False
    contrast_use: ContrastUse = "options"

    def applies(self, task: Task, item: Item) -> bool:
        """Tasks without users whose items have options."""
        return super().applies(task, item) and bool(item.options)

    def contrast(self, item: Item) -> tuple[Message, ...]:  # noqa: ARG002 - the protocol's signature
        """What stands before any answer of this kind."""
        return (Message("user", DOMAIN),)
