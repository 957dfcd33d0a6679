"""Reinforcement learning from AI feedback: GRPO (arXiv 2402.03300) on ratings from 1 to 5 by the frozen base model."""

from __future__ import annotations

from mipo_bench.baselines.recipes.rlvr import Rlvr
from mipo_bench.harness.types import Item, Task


class Rlaif(Rlvr):
    """The base model rates how well each response fits the user, as in MIPO's paper (arXiv 2603.19294)."""

    name = "rlaif"
    description = "Trained baseline: GRPO with ratings by the frozen base model as reward."
    reward = "judge"

    def applies(self, task: Task, item: Item) -> bool:
        """True for items of a user, in tasks whose responses are generated."""
        return item.context is not None and task.max_new_tokens > 0
