"""Reinforcement learning from verifiable rewards: GRPO (Shao et al. 2024, arXiv 2402.03300) on the task's own score."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mipo_bench.harness.types import Item, Objective, Task


class Rlvr:
    """GRPO on the training items. Unlike MIPO it reads their targets: what it gains, labels have paid for."""

    name = "rlvr"
    description = "Trained baseline: GRPO with the task's own score as reward; reads training targets."
    objective: Objective = "grpo"
    reward = "score"
    default = False
    is_trained_baseline = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tasks that score a response by rule, not by a judge, and let the model write one."""
        return not hasattr(task, "rubric") and task.max_new_tokens > 0

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:  # noqa: ARG002
        """Nothing is contrasted: each item stands alone."""
        return list(items)
