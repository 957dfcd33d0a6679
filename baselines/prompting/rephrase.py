"""Rephrase and respond (Deng et al. 2023, arXiv 2311.04205), in two steps."""

from __future__ import annotations

from collections.abc import Sequence

from mipo_bench.baselines.prompting.multi_step import MultiStep, system_turn
from mipo_bench.harness.types import Item, Message

INSTRUCTION = "Do not answer yet. Say this request again in your own words, clearer and in full."


class RephraseAndRespond(MultiStep):
    """Two steps: rephrase the request; answer the request, with both wordings in the prompt."""

    name = "rephrase-and-respond"
    description = "Two steps: the model rephrases the request, then answers with both wordings in the prompt."

    def messages(self, item: Item) -> tuple[Message, ...]:
        """The request, then the instruction to rephrase it."""
        return (*system_turn(item), Message("user", f"{item.prompt}\n{INSTRUCTION}"))

    def follow_up(self, item: Item, earlier: Sequence[str]) -> tuple[Message, ...]:
        """The request, then the model's rephrasing of it."""
        return (*system_turn(item), Message("user", f"{item.prompt}\nIn other words: {earlier[0]}"))
