"""Reinforcement learning from verifiable rewards: GRPO (Shao et al. 2024, arXiv 2402.03300) with the task's score."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mipo_bench.harness.types import Item, JudgedTask, Objective, Task


class Rlvr:
    """GRPO on the training items. Unlike MIPO it reads their targets, so its gain depends on labels."""

    name = "rlvr"
    description = "Trained baseline: GRPO with the task's own score as reward; reads training targets."
    objective: Objective = "grpo"
    reward = "score"
    default = False
    is_trained_baseline = True

    def applies(self, task: Task, item: Item) -> bool:  # noqa: ARG002 - the protocol's signature
        """True for tasks that generate a response and score it by rule, without a judge."""
        return not isinstance(task, JudgedTask) and task.max_new_tokens > 0

    def contrasts(self, items: Sequence[Item], rng: random.Random) -> list[Item]:  # noqa: ARG002
        """The items themselves, because GRPO needs no contrasts."""
        return list(items)
